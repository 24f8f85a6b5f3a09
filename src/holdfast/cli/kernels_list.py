# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels list``: the kernels that verdicts can be asked for."""

from __future__ import annotations

import os

import click

from holdfast.cli.console import say
from holdfast.cli.exit_status import ExitStatus

__all__ = ["command"]

SCHEMA_VERSION = 1


@click.command("list", short_help="List the running kernel and the catalogue.")
@click.argument("selectors", metavar="[SEL]...", nargs=-1)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(selectors: tuple[str, ...], form: str) -> int:
    """List the running kernel and those of the catalogue, or those that SEL names.

    SEL is an id, a glob over ids, 'live' for the running kernel, or 'all'.
    """
    from fnmatch import fnmatchcase

    from holdfast.errors import UsageError
    from holdfast.kernels.catalogue import Shelf

    here = os.uname()
    rows: list[dict[str, object]] = [
        {
            "id": f"live/{here.release}",
            "release": here.release,
            "arch": here.machine,
            "source": "live",
            "package": None,
            "builtin": False,
            "probes": False,
        }
    ]
    shelf = Shelf.open()
    for note in shelf.notes:
        say(f"note: {note}", err=True)
    for entry in shelf.entries():
        kept = entry.row
        rows.append(
            {
                "id": kept.id,
                "release": kept.release,
                "arch": kept.arch,
                "source": kept.source,
                "package": kept.package or None,
                "builtin": entry.is_builtin,
                "probes": entry.has_probes,
            }
        )
    if selectors:
        words = {"live": f"live/{here.release}", "all": "*"}
        patterns = [words.get(one, one) for one in selectors]
        for selector, pattern in zip(selectors, patterns, strict=True):
            if not any(fnmatchcase(str(row["id"]), pattern) for row in rows):
                raise UsageError(f"no kernel {selector!r}", hint="`holdfast kernels list` shows all")
        rows = [row for row in rows if any(fnmatchcase(str(row["id"]), one) for one in patterns)]
    if form == "json":
        from holdfast.cli.console import print_json

        print_json({"schema_version": SCHEMA_VERSION, "kernels": rows})
    else:
        wide = max(len(str(row["id"])) for row in rows)
        for row in rows:
            say(_line(row, wide))
    return ExitStatus.OK


def _line(row: dict[str, object], wide: int) -> str:
    """One line. A package is told by its version where its name is the kernel's release once more."""
    name, _, version = str(row["package"] or "").partition(" ")
    package = version if version and name.endswith(str(row["release"])) else str(row["package"] or "")
    notes = [package, "built in" if row["builtin"] else "", "probed" if row["probes"] else ""]
    return f"{row['id']:<{wide}}  {row['arch']:<7}  {', '.join(one for one in notes if one)}".rstrip()
