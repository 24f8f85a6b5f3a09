# SPDX-License-Identifier: Apache-2.0
"""Needs and verdicts as lines of text, at most :data:`WIDTH` columns or what a function is given as ``width``
(names are not broken); colour is the console's business.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from holdfast.needs.model import (
    CoreReloNeed,
    KfuncNeed,
    LicenseNeed,
    MapNeed,
    Need,
    NeedKind,
    ObjectNeeds,
    ProgramNeeds,
)
from holdfast.predict.model import Hazard, PastLoad, ProgramVerdict, Reason
from holdfast.report.short_names import short_names
from holdfast.terms import MapType, Verdict

__all__ = ["WIDTH", "matrix_lines", "needs_lines", "summary_line", "verdict_lines"]

WIDTH = 100
_ACROSS = 15  # kernels in one table
_LEAST_NAME = 32  # columns for the names of programs beside it
_SIGNS = {Verdict.LOADS: "+", Verdict.FAILS: "x", Verdict.UNKNOWN: "?"}


def _wrap(text: str, first: str, rest: str, width: int = WIDTH) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]


# -- needs ------------------------------------------------------------------------------------------------


def needs_lines(needs: ObjectNeeds, *, verbose: bool = False, width: int = WIDTH) -> Iterator[str]:
    """An object's needs, grouped by kind; ``verbose`` lists every CO-RE relocation and map by itself."""
    yield needs.path
    if not needs.programs:
        yield "  no programs"
    for program in needs.programs:
        yield from _program_lines(program, verbose, width)


def _program_lines(needs: ProgramNeeds, verbose: bool, width: int) -> Iterator[str]:
    program = needs.program
    autoload = "" if program.autoload else " (not loaded unless asked: ?)"
    line = f"  {program.name}  SEC({program.section}){autoload}"
    yield from [line] if len(line) <= width else _wrap(line.strip(), "  ", " " * 6, width)
    for kind in NeedKind:
        group = [need for need in needs.needs if need.kind is kind]
        if not group:
            continue
        if kind in (NeedKind.MAP, NeedKind.CORE_RELO) and not verbose:
            group = [n for n in group if not isinstance(n, MapNeed) or n.used or n.application_sets]
        label = f"    {kind.value:<14} "
        for at, text in enumerate(_grouped(kind, group, verbose)):
            yield from _wrap(text, label if at == 0 else " " * len(label), " " * len(label) + "  ", width)


def _grouped(kind: NeedKind, group: Sequence[Need], verbose: bool) -> Iterator[str]:
    if kind is NeedKind.INSTRUCTION or (kind is NeedKind.HELPER and not verbose):
        plain = [need.name for need in group if not need.conditions]
        if plain:
            yield ", ".join(plain)
        group = [need for need in group if need.conditions]
    for need in group:
        yield _need(need)


def _need(need: Need) -> str:
    text = need.name
    if isinstance(need, CoreReloNeed):
        text = f"{need.label} {need.name}" + (" (may be absent)" if need.optional else "")
    elif isinstance(need, KfuncNeed):
        strength = "strong" if not need.weak else "weak, guarded" if need.guarded else "weak, not guarded"
        text = f"{need.spelled} ({strength})  {need.prototype}"
    elif isinstance(need, MapNeed):
        spec = need.map
        kind = spec.type.name if isinstance(spec.type, MapType) else f"type {spec.type}"
        text = f"{need.name}  {kind} {spec.key_size} -> {spec.value_size} bytes, {spec.max_entries} entries"
        if need.application_sets:
            text += f"; the application sets {' and '.join(need.application_sets)}"
    elif isinstance(need, LicenseNeed):
        says = "is" if need.compatible else "is not"
        text = f"GPL-compatible, for {', '.join(need.demanded_by)}; the object's {need.license!r} {says}"
    if need.source:
        text += f"  [{need.source}]"
    if need.conditions:
        text += f"  only if {' and '.join(need.conditions)}"
    return text


# -- verdicts ---------------------------------------------------------------------------------------------


def verdict_lines(verdict: ProgramVerdict, *, verbose: bool = False, width: int = WIDTH) -> Iterator[str]:
    """One program's verdict with its first reason, or (``verbose``) with all of them and the hazards."""
    sign = _SIGNS[verdict.verdict]
    kind = f"{verdict.type.name}, SEC({verdict.section})"
    line = f"  {sign} {verdict.verdict.value:<7} {verdict.program}  ({kind})"
    yield from [line] if len(line) <= width else _wrap(line.strip(), "  ", " " * 12, width)
    if verdict.load is not None:
        yield from _wrap(_load(verdict.load), " " * 12, " " * 14, width)
    shown = verdict.reasons if verbose else verdict.reasons[:1]
    for reason in shown:
        yield from _reason_lines(reason, width)
    rest = len(verdict.reasons) - len(shown)
    if rest:
        yield f"            and {rest} more reason{'s' if rest > 1 else ''} (--verbose)"
    for hazard in verdict.hazards if verbose else ():
        yield from _hazard_lines(hazard, width)


def _load(load: PastLoad) -> str:
    how = "it loaded" if load.loaded else "it was refused"
    text = f"{how} in this very kernel build, by {load.loader} (evidence: load)"
    right = load.predicted is (Verdict.LOADS if load.loaded else Verdict.FAILS)
    return text if right else f"{text}; predicted was {load.predicted.value}"


def _reason_lines(reason: Reason, width: int) -> Iterator[str]:
    where = f" [{reason.source}]" if reason.source else ""
    evidence = "" if reason.evidence.value == "none" else f" (evidence: {reason.evidence.value})"
    text = f"{reason.code.value}  {reason.need}{where}: {reason.message}{evidence}"
    yield from _wrap(text, " " * 12, " " * 14, width)
    if reason.hint:
        yield from _wrap(f"hint: {reason.hint}", " " * 14, " " * 20, width)


def _hazard_lines(hazard: Hazard, width: int) -> Iterator[str]:
    text = f"hazard {hazard.code.value}  {hazard.need}: {hazard.message}"
    yield from _wrap(text, " " * 12, " " * 14, width)


def summary_line(verdicts: Sequence[ProgramVerdict], *, bar: int = 40) -> str:
    """Counts and a bar of ``bar`` cells: ``+`` loads, ``x`` fails, ``?`` unknown. Each that is there gets a
    cell.
    """
    counts = Counter(verdict.verdict for verdict in verdicts)
    total = len(verdicts) or 1
    widths = {kind: max(1, round(bar * counts[kind] / total)) for kind in Verdict if counts[kind]}
    if widths:
        widths[max(widths, key=widths.__getitem__)] += bar - sum(widths.values())
    cells = "".join(_SIGNS[kind] * width for kind, width in widths.items())
    words = ", ".join(f"{counts[kind]} {kind.value}" for kind in Verdict if counts[kind]) or "no programs"
    return f"[{cells:<{bar}}] {words}"


def matrix_lines(verdicts: Sequence[ProgramVerdict], *, width: int = WIDTH) -> Iterator[str]:
    """Programs down, kernels across (by number; a legend names them), with the signs of a verdict.

    More kernels than a line has room for follow in tables of their own.
    """
    kernels = list(dict.fromkeys(verdict.kernel for verdict in verdicts))
    for number, kernel in enumerate(kernels, 1):
        yield f"  {number:>3}  {kernel}"
    across = max(1, min(_ACROSS, (width - _LEAST_NAME) // 4))
    for first in range(0, len(kernels), across):
        yield from _table(verdicts, kernels[first : first + across], first + 1, width)


def _table(
    verdicts: Sequence[ProgramVerdict], kernels: Sequence[str], first: int, width: int
) -> Iterator[str]:
    cells = {(v.object_path, v.program, v.kernel): _SIGNS[v.verdict] for v in verdicts}
    head = "".join(f"{number:>4}" for number in range(first, first + len(kernels)))
    room = width - len(head) - 4
    programs: dict[str, list[str]] = {}
    for path, program in dict.fromkeys((v.object_path, v.program) for v in verdicts):
        programs.setdefault(path, []).append(program)
    yield " " * (room + 4) + head
    shown_as = short_names(programs)
    for path, names in programs.items():
        yield f"  {shown_as[path]}"
        for name in names:
            shown = name if len(name) <= room else name[: room - 1] + "~"
            signs = "".join(f"{cells.get((path, name, kernel), ' '):>4}" for kernel in kernels)
            yield f"    {shown:<{room}}{signs}"
