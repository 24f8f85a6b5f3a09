# SPDX-License-Identifier: Apache-2.0
"""``holdfast needs``: what each program of an object requires of a kernel."""

from __future__ import annotations

from collections.abc import Sequence

import click

from holdfast.cli.exit_status import ExitStatus

__all__ = ["command"]


@click.command("needs")
@click.argument("paths", metavar="OBJECT|BUNDLE...", nargs=-1, required=True)
@click.option("--program", "programs", multiple=True, metavar="NAME", help="Only this program (repeatable).")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "-v", "--verbose", is_flag=True, help="List maps that no instruction names, and helpers one by one."
)
def command(paths: tuple[str, ...], programs: tuple[str, ...], form: str, verbose: bool) -> int:
    """List what each program of OBJECT|BUNDLE... requires of a kernel, of bundles all variants.

    Each need comes with the C file and line that asks for it and the weak needs that its code hangs on.
    """
    from holdfast.cli.console import print_json, progress, say, text_width
    from holdfast.cli.subjects import open_subjects
    from holdfast.needs.collect import needs_of_program
    from holdfast.needs.model import ObjectNeeds, ProgramNeeds
    from holdfast.report.rows import SCHEMA_VERSION, object_needs_row
    from holdfast.report.text import needs_lines

    found = []
    specs, bundles = open_subjects(paths)
    specs += [variant.spec for bundle in bundles for variant in bundle.variants]
    with progress("reading", len(specs)) as step:
        for spec in specs:
            chosen = [p for p in spec.programs if not programs or p.name in programs]
            rows = tuple(ProgramNeeds(p, tuple(needs_of_program(spec, p))) for p in chosen)
            found.append(ObjectNeeds(spec.path, spec.sha256, rows))
            step(spec.path)
    _check_names(programs, found)
    if form == "json":
        print_json({"schema_version": SCHEMA_VERSION, "objects": [object_needs_row(one) for one in found]})
        return ExitStatus.OK
    for one in found:
        for line in needs_lines(one, verbose=verbose, width=text_width()):
            say(line)
    return ExitStatus.OK


def _check_names(programs: tuple[str, ...], found: Sequence[object]) -> None:
    from holdfast.errors import UsageError
    from holdfast.needs.model import ObjectNeeds

    names = {row.program.name for one in found if isinstance(one, ObjectNeeds) for row in one.programs}
    for name in programs:
        if name not in names:
            raise UsageError(
                f"no program {name!r} in these objects", hint="leave out --program to see them all"
            )
