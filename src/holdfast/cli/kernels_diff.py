# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels diff``: what sets two kernels apart, for BPF programs or for just these objects."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.console import say, text_width
from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.bundle.bundle import Bundle
    from holdfast.elf import ObjectSpec
    from holdfast.history.diff import Difference, KernelDiff, Turn
    from holdfast.kernels import KernelFacts
    from holdfast.predict import ProgramVerdict

__all__ = ["command"]

_TITLES = {
    "breaks": "breaks: programs that rely on it no longer load",
    "tightens": "tightens: fewer programs, or fewer users, are admitted",
    "silent": "silent: loads as before, may mean something else",
    "widens": "widens: more is admitted",
    "neutral": "neutral: no program can tell",
}


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.argument("paths", metavar="[OBJECT|BUNDLE]...", nargs=-1)
@click.option("--libbpf", metavar="X.Y", help="Judge verdicts for this release of libbpf; 1.7 if not given.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True
)
@click.option("-v", "--verbose", is_flag=True, help="List additions and what no program can tell, too.")
def command(
    before: str, after: str, paths: tuple[str, ...], libbpf: str | None, form: str, verbose: bool
) -> int:
    """Say what BPF programs gain and lose from kernel A to kernel B.

    With OBJECT|BUNDLE only what these touch, and which of their verdicts turn. Exit status: 4 a verdict turns
    to FAILS, 8 one turns to UNKNOWN, 1 error, 2 usage.
    """
    from holdfast.cli.console import print_json
    from holdfast.cli.subjects import open_subjects, read_release
    from holdfast.history.diff import diff
    from holdfast.history.touched import touched
    from holdfast.predict import DEFAULT_LIBBPF

    kernels = _two(before, after)
    release = DEFAULT_LIBBPF if libbpf is None else read_release(libbpf)
    objects, bundles = open_subjects(paths)
    specs = objects + [variant.spec for bundle in bundles for variant in bundle.variants]
    found = diff(*kernels, touched(specs) if paths else None)
    changed = _turned(kernels, objects, release)
    plans = [_bundle_row(bundle, kernels, release) for bundle in bundles]
    if form == "json":
        print_json(_document(found, changed, plans, objects=bool(paths)))
    else:
        lines = _markdown if form == "markdown" else _text
        for line in lines(found, changed, plans, verbose):
            say(line)
    return _status([one.after.value for one in changed] + [one["after"] for one in plans if one["turns"]])


def _two(before: str, after: str) -> tuple[KernelFacts, KernelFacts]:
    from holdfast.cli.subjects import open_kernels
    from holdfast.errors import UsageError

    found = []
    for name in (before, after):
        kernels = open_kernels([name])
        if len(kernels) != 1:
            hint = "name one; `holdfast kernels list`"
            raise UsageError(
                f"{name!r} names {len(kernels)} kernels, and one is compared with one", hint=hint
            )
        found += kernels
    if found[0].id == found[1].id and before == after:
        raise UsageError(f"{before!r} is compared with itself", hint="name two kernels")
    return found[0], found[1]


def _turned(
    kernels: tuple[KernelFacts, KernelFacts], objects: list[ObjectSpec], release: tuple[int, int]
) -> list[Turn]:
    from holdfast.cli.console import progress
    from holdfast.history.diff import turns

    found: list[Turn] = []
    if not objects:
        return found
    with progress("checking", len(objects)) as step:
        for spec in objects:
            found += turns(*kernels, [spec], release)
            step(spec.path)
    return found


def _bundle_row(
    bundle: Bundle, kernels: tuple[KernelFacts, KernelFacts], release: tuple[int, int]
) -> dict[str, Any]:
    from holdfast.bundle.plan import plan
    from holdfast.predict import Predictor

    plans = []
    for kernel in kernels:
        judge = Predictor(kernel, release).check
        plans.append(plan(bundle, kernel, partial(_judged, judge)))
    old, new = plans
    return {
        "bundle": bundle.name,
        "before": old.verdict.value,
        "after": new.verdict.value,
        "turns": old.verdict is not new.verdict,
        "variant_before": old.best,
        "variant_after": new.best,
    }


def _judged(
    judge: Callable[[ObjectSpec], list[ProgramVerdict]], spec: ObjectSpec, _facts: KernelFacts
) -> list[ProgramVerdict]:
    return judge(spec)


def _status(verdicts: Sequence[str]) -> int:
    status = ExitStatus.OK
    if "FAILS" in verdicts:
        status |= ExitStatus.FAILS
    if "UNKNOWN" in verdicts:
        status |= ExitStatus.UNKNOWN
    return int(status)


def _document(
    found: KernelDiff, changed: list[Turn], plans: list[dict[str, Any]], *, objects: bool
) -> dict[str, Any]:
    from holdfast.history.rows import diff_row, turn_row

    row = diff_row(found)
    if objects:
        row |= {"turns": [turn_row(one) for one in changed], "bundles": plans}
    return row


# -- text ---------------------------------------------------------------------------------------------------


def _groups(found: KernelDiff, verbose: bool) -> Iterator[tuple[str, list[Difference]]]:
    """Breaks first, additions last and apart from what widened."""
    for effect, title in _TITLES.items():
        group = [one for one in found.differences if one.effect.value == effect and one.how.value != "added"]
        if group and (verbose or effect != "neutral"):
            yield title, group
    added = [one for one in found.differences if one.how.value == "added"]
    if added and verbose:
        yield "added", added


def _counts(found: KernelDiff) -> str:
    from collections import Counter

    counts = Counter("added" if one.how.value == "added" else one.effect.value for one in found.differences)
    words = {"breaks": "break", "tightens": "tighten", "silent": "silent", "widens": "widen"}
    parts = [f"{counts[key]} {word}" for key, word in words.items() if counts[key]]
    parts += [f"{counts[key]} {key}" for key in ("neutral", "added") if counts[key]]
    return ", ".join(parts) or "no difference that BPF programs can tell"


def _text(
    found: KernelDiff, changed: list[Turn], plans: list[dict[str, Any]], verbose: bool
) -> Iterator[str]:
    yield from _wrap(f"{found.before} -> {found.after}: {_counts(found)}", 2)
    for title, group in _groups(found, verbose):
        yield ""
        yield title
        section = ""
        alike: dict[tuple[str, str], list[str]] = {}
        for one in group:
            alike.setdefault((one.section, one.what), []).append(one.name)
        for one in group:
            if one.section != section:
                section = one.section
                yield f"  {section}"
            names = alike.get((one.section, one.what), [one.name]) if one.what else [one.name]
            if len(names) < 3:
                yield from _wrap(f"    {_sign(one)} {one.name}{_said(one)}", 8)
            elif names[0] == one.name:
                yield from _wrap(f"    {_sign(one)} {len(names)} times: {one.what}: {', '.join(names)}", 8)
    if not verbose and any(one.how.value == "added" for one in found.differences):
        yield ""
        yield from _wrap(f"added: {_added(found)} (--verbose lists them)", 2)
    for text in found.untold:
        yield from _wrap(f"not compared: {text}", 2)
    if changed or plans:
        yield ""
        yield "verdicts"
    for turn in changed:
        yield from _wrap(f"  {Path(turn.object_path).name}: {turn.program}: {_arrow(turn)}{_why(turn)}", 6)
    for row in plans:
        yield from _wrap(f"  bundle {row['bundle']}: {_plan(row)}", 6)


def _wrap(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        text_width(),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _sign(one: Difference) -> str:
    return {"added": "+", "removed": "-"}.get(one.how.value, "~")


def _said(one: Difference) -> str:
    if one.what:
        return f": {one.what}"
    if one.how.value == "changed":
        return f": {one.before} -> {one.after}"
    return ""


def _added(found: KernelDiff) -> str:
    from collections import Counter

    counts = Counter(one.section.value for one in found.differences if one.how.value == "added")
    return ", ".join(f"{number} {section}" for section, number in counts.items())


def _arrow(turn: Turn) -> str:
    return f"{turn.before.value} -> {turn.after.value}"


def _why(turn: Turn) -> str:
    return f"; {turn.reason.code.value} {turn.reason.need}: {turn.reason.message}" if turn.reason else ""


def _plan(row: dict[str, Any]) -> str:
    before, after = (row[f"variant_{when}"] or "no variant" for when in ("before", "after"))
    if before == after and not row["turns"]:
        return f"{row['after']} as before, by {after}"
    return f"{row['before']} by {before} -> {row['after']} by {after}"


# -- markdown -----------------------------------------------------------------------------------------------


def _markdown(
    found: KernelDiff, changed: list[Turn], plans: list[dict[str, Any]], verbose: bool
) -> Iterator[str]:
    yield f"## {found.before} to {found.after}"
    yield ""
    yield f"{_counts(found)}."
    for title, group in _groups(found, verbose):
        yield ""
        yield f"### {title[0].upper()}{title[1:]}"
        yield ""
        yield "| | where | name | what |"
        yield "|---|---|---|---|"
        for one in group:
            yield f"| {_sign(one)} | {one.section} | `{one.name}` | {_cell(_said(one).removeprefix(': '))} |"
    if changed or plans:
        yield ""
        yield "### Verdicts"
        yield ""
        yield "| object | program | before | after | why |"
        yield "|---|---|---|---|---|"
    for turn in changed:
        name = Path(turn.object_path).name
        why = _cell(_why(turn).removeprefix("; "))
        yield f"| {name} | `{turn.program}` | {turn.before.value} | {turn.after.value} | {why} |"
    for row in plans:
        yield f"| bundle {row['bundle']} | | {row['before']} | {row['after']} | {_plan(row)} |"
    for text in found.untold:
        yield ""
        yield f"Not compared: {text}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
