# SPDX-License-Identifier: Apache-2.0
"""``holdfast kfunc``: the life of a kfunc, or of all that a glob matches."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from holdfast.cli.console import say, text_width
from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.errors import UsageError
    from holdfast.history import KfuncLife, Lives, Sighting
    from holdfast.history.contract import Contract

__all__ = ["command"]

_LABEL = 11
_GLOB = "*?["
_SIGNS = "# vmlinux   m module   - left out by its configuration   . absent   ? not known"


@click.command("kfunc")
@click.argument("pattern", metavar="NAME|GLOB")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    default=("all",),
    metavar="SEL",
    help="Kernels to look at: an id or glob, 'all' (default), 'live', or a path; repeatable.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(pattern: str, kernels: tuple[str, ...], form: str) -> int:
    """Tell the life of a kfunc: where it is, how it changed, who may call it, and its grade.

    A GLOB lists all that it matches, one line each. Quote it: 'bpf_ct_*'.
    """
    from holdfast.cli.subjects import open_kernels
    from holdfast.history import Lives
    from holdfast.history.contract import shipped_contracts

    # Of "all" the running kernel is left out: it need not be a distribution's, and grades are about those.
    found = [one for one in open_kernels(kernels) if one.source != "live" or kernels != ("all",)]
    lives = Lives(found)
    many = any(sign in pattern for sign in _GLOB)
    names = lives.match(pattern) if many else [pattern] if pattern in lives else []
    if not names:
        raise _unknown(lives, pattern)
    if form == "json":
        _print_json(lives, names, many)
    elif many:
        _print_list(lives, names)
    else:
        for line in _life_lines(lives.life(names[0]), shipped_contracts()):
            say(line)
    return ExitStatus.OK


def _unknown(lives: Lives, pattern: str) -> UsageError:
    from holdfast.errors import UsageError
    from holdfast.history.options import option_of
    from holdfast.history.renames import renames_of

    count = len(lives.builds)
    where = f"the {count} kernels here" if count > 1 else lives.builds[0].id if count else "no kernel"
    if not lives.names():
        hint = (
            "their BTF has no kfunc tags and .BTF_ids was not read: add a kernel's package to the catalogue"
        )
        return UsageError(f"no kfunc is known of {where}", hint=hint)
    helper = pattern.removeprefix("bpf_")
    if any(f"BPF_FUNC_{helper}" in (one.facts.enumerators("bpf_func_id") or {}) for one in lives.builds):
        hint = "it is a helper: `holdfast kernels show ID --only helpers`"
    elif renames := renames_of(pattern)[1]:
        hint = f"it became {renames[-1].new} in {renames[-1].release}"
    elif near := lives.nearest(pattern):
        hint = f"did you mean {' or '.join(near)}?"
    elif option := option_of(pattern):
        hint = f"it hangs on {option[0]}: take in a kernel that is built with it"
    else:
        hint = "list them: holdfast kfunc '*'"
    verb = "have" if count > 1 else "has"
    return UsageError(f"{where} {verb} no kfunc {pattern!r}", hint=hint)


def _each(lives: Lives, names: list[str]) -> Iterator[KfuncLife]:
    """Their lives, with a bar where there are many."""
    from holdfast.cli.console import progress

    with progress("comparing kernels", len(names)) as step:
        for name in names:
            yield lives.life(name)
            step("")


def _print_json(lives: Lives, names: list[str], many: bool) -> None:
    from holdfast.cli.console import print_json
    from holdfast.history.contract import shipped_contracts
    from holdfast.history.rows import SCHEMA_VERSION, kernel_rows, kfunc_row, kfunc_summary

    if many:
        rows = [kfunc_summary(life) for life in _each(lives, names)]
    else:
        rows = [kfunc_row(lives.life(names[0]), shipped_contracts())]
    print_json({"schema_version": SCHEMA_VERSION, "kernels": kernel_rows(lives), "kfuncs": rows})


def _print_list(lives: Lives, names: list[str]) -> None:
    from holdfast.history.rows import kfunc_summary

    rows = [kfunc_summary(life) for life in _each(lives, names)]
    width = text_width()
    wide = min(max(len(row["name"]) for row in rows), 44)
    say(f"{'grade':<10} {'first':<5} {'last':<5} {'name':<{wide}}  callable from, in the last")
    for row in rows:
        types = row["program_types"]
        callers = "unknown" if types is None else " ".join(types) or "none"
        if row["modules"]:
            callers += f" [module {' '.join(row['modules'])}]"
        head = f"{row['grade']:<10} {row['first']:<5} {row['last']:<5} {row['name']:<{wide}}  "
        room = max(width - len(head), 12)
        say(head + (callers if len(callers) <= room else f"{callers[: room - 3]}..."))
    count = "kfunc" if len(rows) == 1 else "kfuncs"
    say(f"{len(rows)} {count} in {len(lives.builds)} kernels")


# -- one life -----------------------------------------------------------------------------------------------


def _life_lines(life: KfuncLife, contracts: list[Contract]) -> Iterator[str]:
    from holdfast.history.eras import callers, eras, flags, prototype
    from holdfast.history.grades import grade

    graded = grade(life)
    yield life.name
    yield from _row("grade", f"{graded.word}: {graded.reason}")
    yield from _matrix(life)
    for label, value, unknown in (
        ("prototype", prototype, "in no BTF at hand"),
        ("flags", flags, "unknown: .BTF_ids was not read"),
        ("callable", callers, "unknown: the code that registers it was not read"),
    ):
        rows = [f"{era.span:<9}  {era.value}" for era in eras(life, value)]
        yield from _rows(label, rows or [unknown], indent=11 if rows else 0)
    yield from _changes(life)
    if life.modules:
        yield from _row(
            "module", f"{' or '.join(life.modules)} must be loaded where it is not built in (m above)"
        )
    if life.option:
        without = sum(one.hidden_by is not None for one in life.sightings)
        tail = f"; {without} of these kernels are built without" if without else ""
        yield from _row("config", f"{life.option} ({life.option_source}){tail}")
    yield from _rows("renamed", [*_renames(life)], indent=2)
    yield from _rows("wrong", [*_wrong(life)], indent=2)
    yield from _rows("contract", [*_contracts(life, contracts)], indent=2)
    evidence = dict.fromkeys(str(kind) for one in life.present for kind in one.state.evidence)
    yield from _row("evidence", " ".join(evidence))


def _row(label: str, text: str) -> Iterator[str]:
    return _rows(label, [text], indent=2)


def _rows(label: str, texts: Iterable[str], *, indent: int) -> Iterator[str]:
    head = f"  {label:<{_LABEL}}"
    for text in texts:
        yield from textwrap.wrap(
            text,
            text_width(),
            initial_indent=head,
            subsequent_indent=" " * (2 + _LABEL + indent),
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        head = " " * (2 + _LABEL)


def _matrix(life: KfuncLife) -> Iterator[str]:
    """Flavours down, series across; what builds of one flavour and series say stands side by side."""
    from holdfast.history.versions import series_name

    series = list(dict.fromkeys(one.build.series for one in life.sightings))
    flavours = sorted({one.build.flavour for one in life.sightings})
    wide = max(len(one) for one in flavours) + 2
    across = max((text_width() - 2 - _LABEL - wide) // 5, 1)
    label = "where"
    for start in range(0, len(series), across):
        part = series[start : start + across]
        yield f"  {label:<{_LABEL}}{'':<{wide}}" + "".join(f"{series_name(one):<5}" for one in part).rstrip()
        label = ""
        for flavour in flavours:
            cells = "".join(f"{_cell(life, flavour, one):<5}" for one in part).rstrip()
            yield f"  {'':<{_LABEL}}{flavour:<{wide}}{cells}".rstrip()
    yield from _rows("", [_SIGNS], indent=0)


def _cell(life: KfuncLife, flavour: str, series: tuple[int, int]) -> str:
    here = [one for one in life.sightings if one.build.flavour == flavour and one.build.series == series]
    return "".join(dict.fromkeys(map(_sign, here)))


def _sign(one: Sighting) -> str:
    from holdfast.history.builds import Presence

    if one.presence is Presence.PRESENT:
        return "m" if one.state.module else "#"
    if one.hidden_by:
        return "-"
    return "." if one.presence is Presence.ABSENT else "?"


def _changes(life: KfuncLife) -> Iterator[str]:
    rows = [
        f"{step.after.series_name:<9}  {step.change.effect.value}: {step.change.what}" for step in life.steps
    ]
    yield from _rows("changes", rows or ["none seen"], indent=11 if rows else 0)


def _renames(life: KfuncLife) -> Iterator[str]:
    for one in life.renamed_from:
        yield f"from {one.old} in {one.release}{f', {one.note}' if one.note else ''} (source: {one.source})"
    for one in life.renamed_to:
        verb = "perhaps to" if one.guess else "to"
        yield f"{verb} {one.new} in {one.release}{f', {one.note}' if one.note else ''} (source: {one.source})"


def _wrong(life: KfuncLife) -> Iterator[str]:
    from holdfast.history.known import KNOWN
    from holdfast.history.versions import series_name

    for one in KNOWN:
        if life.name in one.names:
            until = f" to before {series_name(one.until)}" if one.until else " on"
            span = f"from {series_name(one.since)}{until}: " if one.sign is None else ""
            yield f"{span}{one.what}; {one.hint} (source: {one.source})"


def _contracts(life: KfuncLife, contracts: list[Contract]) -> Iterator[str]:
    from holdfast.history.contract import PromiseKind

    for contract in contracts:
        promise = contract.promise(PromiseKind.KFUNC, life.name)
        if promise is not None:
            after = f", then {promise.replaced_by}" if promise.replaced_by else ""
            source = promise.source or contract.source
            yield f"{contract.name}: {contract.strength}, {promise.span}{after} (source: {source})"
