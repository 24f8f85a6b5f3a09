# SPDX-License-Identifier: Apache-2.0
"""``holdfast rss selftest``: whether everything that hashes is right on this machine."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.rss.selftest import SelfTest

__all__ = ["command"]

SCHEMA_VERSION = 1


@click.command("selftest")
@click.option(
    "--flows", default=2000, show_default=True, type=click.IntRange(2), help="Random flows hashed in Python."
)
@click.option("--seed", default=1, show_default=True, help="What they are made from.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(flows: int, seed: int, form: str) -> int:
    """Send published vectors and random flows through every variant and fallback of this machine.

    Each is compared with an independent reference. What cannot run here (no privilege, no TAP, a
    kernel that lacks something) is told with the reason and is no failure; exit status 1: something is wrong.
    """
    from holdfast.cli.console import print_json, progress
    from holdfast.rss.selftest import bundles, self_test

    results: list[SelfTest] = []
    total = 1 + sum(len(one.variants) + (one.fallback is not None) for one in bundles())
    with progress("testing", total) as step:
        for result in self_test(flows, seed=seed, step=step):
            results.append(result)
    wrong = any(one.cannot is None and not one.right for one in results)
    if form == "json":
        rows = [one.to_dict() for one in results]
        print_json({"schema_version": SCHEMA_VERSION, "right": not wrong, "results": rows})
    else:
        click.echo("\n".join(_lines(results)))
    return ExitStatus.ERROR if wrong else ExitStatus.OK


def _lines(results: list[SelfTest]) -> Iterator[str]:
    width = max(len(f"{one.bundle} {one.name}") for one in results)
    for one in results:
        told = one.cannot or ", ".join(f"{each.right} of {each.of} {each.what}" for each in one.counts)
        word = "cannot" if one.cannot is not None else "right " if one.right else "WRONG "
        first = f"  {word}  {f'{one.bundle} {one.name}':<{width}}  "
        yield from textwrap.wrap(told, 98, initial_indent=first, subsequent_indent=" " * len(first))
        for line in one.left_out:
            indent = " " * len(first)
            yield from textwrap.wrap(f"left out: {line}", 98, initial_indent=indent, subsequent_indent=indent)
        yield from (f"      {line}" for line in one.wrong)
    ran = sum(one.cannot is None for one in results)
    right = sum(one.right for one in results if one.cannot is None)
    yield ""
    yield f"{ran} of {len(results)} ran here; {right} are right"
