# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels add`` and ``remove``: kernels into the user's catalogue and out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.console import say
from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.kernels.build import Step
    from holdfast.kernels.record import KernelRecord

__all__ = ["command", "remove"]

SCHEMA_VERSION = 1


@click.command("add")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--source", metavar="NAME", default="", help="Begin its id so: NAME/RELEASE.")
@click.option("--keep", multiple=True, metavar="MODULE", help="Keep this module's BTF too; repeatable.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(paths: tuple[Path, ...], source: str, keep: tuple[str, ...], form: str) -> int:
    """Add the kernel in PATH to the catalogue.

    PATH is a distribution's package (further PATHs are its other parts, where a build is split), a vmlinuz or
    vmlinux, a folder (a root, or lib/modules/RELEASE), raw BTF, or what `holdfast kernels show live --format
    json` printed on another machine. A kernel with the same id is replaced.
    """
    from holdfast.cli.console import print_json
    from holdfast.kernels.catalogue import Catalogue

    _check_source(source)
    catalogue = Catalogue.open()
    for note in catalogue.notes:
        say(f"note: {note}", err=True)
    record = _record(paths, source, keep, _say)
    _say("adding it to the catalogue")
    row = catalogue.add(record)
    if form == "json":
        print_json({"schema_version": SCHEMA_VERSION, "id": row.id, "release": row.release, "size": row.size})
    else:
        say(f"{row.id} is in the catalogue ({row.size / 1e6:.1f} MB)")
    return ExitStatus.OK


def _say(text: str) -> None:
    say(f"{text} ...", err=True)


def _check_source(source: str) -> None:
    """An id is ``source/release``, is globbed, and is printed: so not every word can begin one."""
    from holdfast.errors import UsageError

    if source and (source == "live" or not re.fullmatch(r"[a-z0-9][a-z0-9._+-]{0,62}", source)):
        raise UsageError(
            f"--source {source!r} cannot begin an id",
            hint="lower-case letters, digits, and ._+- after the first; `live` is the running kernel's",
        )


def _record(paths: tuple[Path, ...], source: str, keep: tuple[str, ...], step: Step) -> KernelRecord:
    from dataclasses import replace

    from holdfast.kernels import exported
    from holdfast.kernels.build import record_of_btf, record_of_path

    first = paths[0]
    head = b""
    if first.is_file():
        with first.open("rb") as file:
            head = file.read(64)
    if exported.is_export(head):
        record = exported.from_path(first)
    elif head[:2] in (b"\x9f\xeb", b"\xeb\x9f"):
        record = record_of_btf(first)
    else:
        return record_of_path(first, parts=paths[1:], source=source, keep=keep, step=step)
    return replace(record, source=source, id=f"{source}/{record.id.partition('/')[2]}") if source else record


@click.command("remove")
@click.argument("kernel", metavar="ID")
def remove(kernel: str) -> int:
    """Remove the kernel ID from the user's catalogue. Those that came with Holdfast stay."""
    from holdfast.errors import UsageError
    from holdfast.kernels.catalogue import Catalogue

    catalogue = Catalogue.open()
    if kernel not in catalogue:
        hint = "`holdfast kernels list` shows which are yours"
        raise UsageError(f"the user's catalogue has no kernel {kernel!r}", hint=hint)
    catalogue.remove(kernel)
    say(f"{kernel} is no more in the catalogue")
    return ExitStatus.OK
