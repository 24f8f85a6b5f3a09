# SPDX-License-Identifier: Apache-2.0
"""``holdfast rss``: receive-side scaling for multiqueue TAP devices."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.exit_status import ExitStatus
from holdfast.cli.rss_attach import attach, detach
from holdfast.cli.rss_hash import command as hash_frames
from holdfast.cli.rss_qemu import command as qemu
from holdfast.cli.rss_selftest import command as selftest
from holdfast.cli.rss_show import command as show

if TYPE_CHECKING:
    from holdfast.bundle.bundle import Bundle
    from holdfast.bundle.plan import Plan
    from holdfast.rss.demo import DemoResult

__all__ = ["command"]

BAR = 50  # columns of the longest bar
PUBLISHED = 24  # frames of the published vectors


@click.group("rss", help="Receive-side scaling for multiqueue TAP devices.")
def command() -> None:
    """Holds the subcommands."""


for each in (attach, detach, hash_frames, qemu, selftest, show):
    command.add_command(each)


@command.command("demo")
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="The bundle to run (default: net/rss as shipped)."
)
@click.option(
    "--flows", default=20_000, show_default=True, type=click.IntRange(0), help="Random flows to send."
)
@click.option(
    "--queues", default=4, show_default=True, type=click.IntRange(2, 256), help="Queues of the TAP."
)
@click.option("--seed", default=1, show_default=True, help="What the random flows are made from.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def demo(bundle: Path | None, flows: int, queues: int, seed: int, form: str) -> int:
    """Run the bundle net/rss here and steer real frames with it.

    Says what its variants need and where they load, loads the best, makes a TAP in a network namespace of
    its own, sends the published verification vectors and random flows, and compares the queue of every
    single frame with an independent reference. Without the privileges for that, the fallback shows the same
    in user space.
    """
    from holdfast.bundle.bundle import Bundle
    from holdfast.cli.console import print_json, progress
    from holdfast.load.runner import carry_out, plan_here
    from holdfast.rss.demo import run_demo
    from holdfast.rss.shipped import bundle_path

    text = form == "text"
    opened = Bundle.open(bundle or bundle_path())
    if text:
        click.echo("\n".join(describe_needs(opened)))
    plan = plan_here(opened)
    if text:
        click.echo("\n".join(describe_plan(plan)))
    with carry_out(plan) as outcome:
        if text:
            click.echo(outcome.explain() + "\n")
        with progress("steering", PUBLISHED + flows) as step:
            result = run_demo(outcome, flows=flows, queues=queues, seed=seed, step=lambda: step(""))
        if text:
            click.echo("\n".join(describe(result)))
        else:
            print_json({"schema_version": 1, "outcome": outcome.to_dict(), "demo": result.to_dict()})
    return ExitStatus.OK if result.all_right else ExitStatus.ERROR


def describe_needs(bundle: Bundle) -> Iterator[str]:
    """Yields the lines that tell what each variant requires of a kernel."""
    from holdfast.needs import needs_of_object
    from holdfast.report.text import needs_lines

    yield f"What the variants of {bundle.name} need, the best first:"
    yield ""
    for variant in bundle.variants:
        yield from needs_lines(needs_of_object(variant.spec))
    yield ""


def describe_plan(plan: Plan) -> Iterator[str]:
    """Yields the lines that tell where they load here."""
    yield f"Verdicts on {plan.kernel}:"
    yield ""
    for rank, step in enumerate(plan.steps, 1):
        yield f"  {rank}. {step.verdict.value:<7} {step.variant.name}"
        yield from (f"       {reason.line}" for reason in step.reasons[:2])
    yield ""


def describe(result: DemoResult) -> list[str]:
    """Returns the lines that tell a result to people."""
    if result.why_user_space is None:
        lines = [
            f"A TAP with {len(result.queues)} queues in a network namespace of its own; packets per queue:",
            "",
        ]
    else:
        lines = [
            f"No TAP is steered: {result.why_user_space}. The fallback decides for each frame instead:",
            "",
        ]
    block = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    most = max(*result.queues, 1)
    for queue, count in enumerate(result.queues):
        lines.append(f"  queue {queue:<3} {block * round(BAR * count / most)} {count}")
    # A unit separator holds a name and its number together until the lines are broken.
    kinds = ", ".join(f"{name}\x1f{count}" for name, count in result.types.items() if count)
    broken = textwrap.wrap(f"by hash type: {kinds}", 98, initial_indent="  ", subsequent_indent="  ")
    lines += ["", *(line.replace("\x1f", " ") for line in broken), ""]
    verb = "arrived in" if result.why_user_space is None else "were given"
    for what, tally in (("frames of the published vectors", result.vectors), ("random flows", result.flows)):
        lines.append(f"{tally.right} of {tally.frames} {what} {verb} the queue that the reference computes")
    if result.lost:
        lines.append(f"{result.lost} frames did not arrive at all")
    lines += [f"  wrong: {one}" for one in result.wrong]
    return lines
