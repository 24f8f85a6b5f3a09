# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels probe``: ask the running kernel by tiny loads."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.console import PLAIN_WIDTH, text_width
from holdfast.cli.exit_status import ExitStatus
from holdfast.errors import one_line

if TYPE_CHECKING:
    from holdfast.kernels import KernelFacts, ProbeFacts
    from holdfast.kernels.compare import Disagreement

__all__ = ["command", "document"]

SCHEMA_VERSION = 1
_PARTS = (
    "program-types",
    "map-types",
    "attach-types",
    "link-types",
    "helpers",
    "kfuncs",
    "instructions",
)
_PLAIN = {
    "program_types": "program types",
    "map_types": "map types",
    "attach_types": "attach types",
    "link_types": "link types",
    "attachments": "attachments",
    "instructions": "instructions",
}


@click.command("probe", short_help="Ask the running kernel by tiny loads.")
@click.option(
    "--only",
    metavar="PART[,PART...]",
    default=",".join(_PARTS),
    help=f"Ask these parts alone: {', '.join(_PARTS)}.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there instead of to stdout.",
)
def command(only: str, form: str, output: Path | None) -> int:
    """Ask the running kernel what it takes, by loading tiny programs; nothing stays loaded.

    Every answer is yes, no, or unknown. It needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (for kfuncs of
    modules CAP_SYS_ADMIN), and some seconds. What the kernel answers is held against its BTF and config, and
    against the catalogue where that has this very build: what contradicts is told.
    """
    from holdfast.errors import PrivilegeError
    from holdfast.kernels import live

    parts = _parts(only)
    kernel = _known(live.facts())
    probes = _asked(kernel, parts)
    if probes.obstacle:
        raise PrivilegeError(f"the kernel cannot be asked: {probes.obstacle}", hint="run it as root")
    from holdfast.kernels.compare import compare

    disagreements = compare(kernel, probes)
    if form == "json":
        text = json.dumps(document(kernel, probes, disagreements), indent=2, sort_keys=True) + "\n"
    else:
        width = text_width() if output is None else PLAIN_WIDTH
        lines = _lines(kernel, probes, disagreements, width)
        text = "".join(f"{one_line(line)}\n" for line in lines)
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text)
    return ExitStatus.OK


def _parts(only: str) -> list[Any]:
    from holdfast.errors import UsageError
    from holdfast.kernels.probe import Part

    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in _PARTS:
            raise UsageError(f"--only: no part {name!r}", hint=f"there are {', '.join(_PARTS)}")
    if not names:
        raise UsageError("--only names no part", hint=f"there are {', '.join(_PARTS)}")
    return [Part(name) for name in names]


def _known(kernel: KernelFacts) -> KernelFacts:
    """The running kernel, with the registrations of the same build from the catalogue where it has them."""
    from holdfast.errors import UsageError
    from holdfast.kernels.compare import same_build
    from holdfast.kernels.select import select

    try:
        catalogued = [one for one in select([f"*/{kernel.release}"]) if one.source != "live"]
    except UsageError:  # it names none
        return kernel
    return same_build(kernel, catalogued)


def _asked(kernel: KernelFacts, parts: Sequence[Any]) -> ProbeFacts:
    from holdfast.cli.console import progress
    from holdfast.kernels import probe

    with progress("asking the running kernel", 100 * len(parts)) as step:
        shown = dict.fromkeys(parts, 0)

        def tell(now: Any) -> None:
            percent = 100 * now.done // max(now.total, 1)
            for _ in range(percent - shown[now.part]):
                step(now.part)
            shown[now.part] = max(shown[now.part], percent)

        return probe.everything(kernel, tell, only=parts)


def _write(output: Path, text: str) -> None:
    from holdfast.errors import FileError

    try:
        if output.exists() and not output.is_file():  # a pipe or a device; nothing can take its place
            output.write_text(text)
            return
        beside = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            beside.write_text(text)
            beside.replace(output)  # so that a full disk leaves what was there before
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(str(output), f"cannot be written: {error.strerror}") from None


# -- JSON ---------------------------------------------------------------------------------------------------


def document(
    kernel: KernelFacts, probes: ProbeFacts, disagreements: Sequence[Disagreement]
) -> dict[str, Any]:
    """The answers as plain dicts and lists.

    ``kfuncs`` and ``helpers`` have a row for each program type (``attach_type`` and ``sleepable`` null: of
    any kind), and where its attach types or sleepable programs differ a row for each of those besides.
    """
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "id": kernel.id,
        "release": kernel.release,
        "arch": kernel.arch,
        "disagreements": [
            {
                "what": one.what,
                "name": one.name,
                "program_type": one.program_type.name if one.program_type is not None else None,
                "image": one.image,
                "evidence": str(one.evidence),
                "kernel": one.kernel,
                "note": one.note,
            }
            for one in disagreements
        ],
    }
    result |= {key: table for key, table in _plain(probes).items() if table}
    if probes.helpers:
        result["helpers"] = [
            {"number": number, "name": kernel.helper_name(number), **row}
            for number, row in _rows(probes.helpers)
        ]
    if probes.kfuncs:
        result["kfuncs"] = [{"name": name, **row} for name, row in _rows(probes.kfuncs)]
    return result


def _plain(probes: ProbeFacts) -> dict[str, dict[str, bool | None]]:
    return {
        "program_types": {kind.name: value for kind, value in probes.program_types.items()},
        "map_types": {kind.name: value for kind, value in probes.map_types.items()},
        "attach_types": {kind.name: value for kind, value in probes.attach_types.items()},
        "link_types": dict(probes.link_types),
        "attachments": dict(probes.attachments),
        "instructions": {str(name): value for name, value in probes.insn_features.items()},
    }


def _rows(answers: Mapping[Any, bool | None]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(what, row): one row for each program type, and all others of it where they are not all the same."""
    groups: dict[tuple[Any, Any], list[tuple[Any, bool | None]]] = {}
    for use, value in answers.items():
        groups.setdefault((use[0], use.program_type), []).append((use, value))
    for (what, _kind), rows in groups.items():
        differ = len({value for _, value in rows}) > 1
        for use, value in rows:
            if differ or (use.attach_type is None and use.sleepable is None):
                yield (
                    what,
                    {
                        "program_type": use.program_type.name,
                        "attach_type": _attach_type(use),
                        "sleepable": use.sleepable,
                        "answer": value,
                    },
                )


def _attach_type(use: Any) -> str | None:
    """The attach type's name; "0" where that number stands for none, as for a plain kprobe."""
    if use.attach_type is None:
        return None
    if use.attach_type == 0 and use.program_type.name != "CGROUP_SKB":
        return "0"
    name: str = use.attach_type.name
    return name


# -- text ---------------------------------------------------------------------------------------------------


def _lines(
    kernel: KernelFacts, probes: ProbeFacts, disagreements: Sequence[Disagreement], width: int
) -> Iterator[str]:
    yield kernel.id
    for key, table in _plain(probes).items():
        if table:
            yield from ("", _PLAIN[key])
            yield from _split(table, width)
    for title, answers, name in (
        ("helpers", probes.helpers, lambda number: f"{number} {kernel.helper_name(number)}"),
        ("kfuncs", probes.kfuncs, str),
    ):
        if answers:
            yield from ("", f"{title}, and the program types that may call them")
            yield from _callers(answers, name, width)
    yield ""
    if not disagreements:
        yield "nothing contradicts the kernel's BTF and config"
    for one in disagreements:
        where = f" from {one.program_type.name}" if one.program_type is not None else ""
        yield from _fold(
            f"CONTRADICTION {one.what} {one.name}{where}: ",
            f"the kernel says {_WORDS[one.kernel]}, {one.evidence} says {_WORDS[one.image]} ({one.note})",
            width,
        )


_WORDS = {True: "yes", False: "no", None: "unknown"}


def _split(table: Mapping[str, bool | None], width: int) -> Iterator[str]:
    for value, word in _WORDS.items():
        names = [name for name, answer in table.items() if answer is value]
        if names:
            yield from _fold(f"  {word:<9}", " ".join(names), width)


def _callers(answers: Mapping[Any, bool | None], name: Any, width: int) -> Iterator[str]:
    by_name: dict[Any, dict[str, bool | None]] = {}
    for use, value in answers.items():
        if use.attach_type is None and use.sleepable is None:
            by_name.setdefault(use[0], {})[use.program_type.name] = value
    for what, types in by_name.items():
        admitted = [kind for kind, value in types.items() if value]
        unknown = [kind for kind, value in types.items() if value is None]
        yield f"  {name(what)}"
        if admitted and len(admitted) + len(unknown) == len(types):
            yield "    from: every type that could be asked"
            continue
        shown = " ".join(admitted)
        yield from _fold("    from: ", shown or "none", width)
        if unknown:
            yield from _fold("    unknown: ", " ".join(unknown), width)


def _fold(head: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * min(len(head), 12))
