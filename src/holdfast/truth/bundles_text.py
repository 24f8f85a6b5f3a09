# SPDX-License-Identifier: Apache-2.0
"""Bundles as lines of text: kernels across and variants down, what runs and why nothing better does."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.bundle.proof import Proved
from holdfast.report.cases import State
from holdfast.terms import Verdict
from holdfast.truth.bundles_judge import BundleCase, VariantCase

__all__ = ["bundle_lines", "bundles_summary", "bundles_tables", "variant_lines"]

WIDTH: Final = 100
_ACROSS: Final = 12  # kernels in one table
_LABEL: Final = 20  # columns at least for the name of a variant
_VERDICTS: Final = {Verdict.LOADS: "+", Verdict.FAILS: "x", Verdict.UNKNOWN: "?"}
_SIGNS: Final = {True: "+", False: "x", None: "?"}
_LEGEND: Final = (
    "predicted, loads, works: + yes, x no, ? unknown, ! could not be tried, - nothing to prove",
    "> it runs there by the plan, * predicted wrong",
)


def bundles_tables(cases: Sequence[BundleCase], width: int = WIDTH) -> Iterator[str]:
    """For each bundle three signs for each variant and kernel, and what there is to say of each kernel.

    ``width`` in columns, 50 at least.
    """
    across = min(_ACROSS, (width - 2 - _LABEL) // 7)
    kernels = list(dict.fromkeys(case.kernel for case in cases))
    for number, kernel in enumerate(kernels, 1):
        yield f"  {number:>3}  {kernel}"
    for line in _LEGEND:
        yield from _wrapped(line, "  ", "    ", width)
    for path in dict.fromkeys(case.path for case in cases):
        mine = [case for case in cases if case.path == path]
        yield ""
        for first in range(0, len(mine), across):
            yield from _table(mine[first : first + across], first, width)
        yield from _remarks(mine, width)


def _table(cases: Sequence[BundleCase], first: int, width: int) -> Iterator[str]:
    head = "".join(f"{number:>6} " for number in range(first + 1, first + 1 + len(cases)))
    room = min(width - len(head) - 2, 40)
    yield ("  " + cases[0].bundle[:room].ljust(room) + head).rstrip()
    for rank, variant in enumerate(cases[0].variants):
        label = f"{rank + 1}. {variant.name}"
        cells = (_cell(case.variants[rank], case.ran == variant.name) for case in cases)
        yield ("  " + label[:room].ljust(room) + "".join(cells)).rstrip()
    if any(case.user_space or case.fallback or case.broke for case in cases):
        cells = (_fallback_cell(case) for case in cases)
        yield ("  " + "fallback".ljust(room) + "".join(cells)).rstrip()


def _cell(one: VariantCase, ran: bool) -> str:
    if one.loaded is None:
        loaded, works = "!", " "
    else:
        loaded = _SIGNS[one.loaded]
        works = " " if not one.loaded else "!" if one.broke else _SIGNS[one.works] if one.proof else "-"
    mark = ">" if ran else " "
    return f"  {mark}{_VERDICTS[one.predicted]}{loaded}{works}{'*' if one.is_false else ' '}"


def _fallback_cell(case: BundleCase) -> str:
    works = "!" if case.broke else _SIGNS[case.user_space.works] if case.user_space else "-"
    return f"  {'>' if case.fallback else ' '}  {works} "


def _remarks(cases: Sequence[BundleCase], width: int) -> Iterator[str]:
    """What there is to say, once for all kernels of which it is the same."""
    told: dict[tuple[str, ...], list[int]] = {}
    for number, case in enumerate(cases, 1):
        told.setdefault(tuple(bundle_lines(case)), []).append(number)
    for lines, numbers in told.items():
        first, *rest = lines
        yield from _wrapped(f"{_ranges(numbers)}  {first}", "  ", " " * 6, width)
        for line in rest:
            yield from _wrapped(line, " " * 6, " " * 8, width)


def bundle_lines(case: BundleCase) -> Iterator[str]:
    """What runs of it on its kernel, and what works; of each other variant why it does not; what is
    wrong, and what is not known.
    """
    if case.trouble:
        yield f"nobody knows what runs: {case.trouble}"
    elif case.ran is None:
        yield f"nothing runs: {case.error}" if case.error else f"the fallback {case.fallback!r} does the job"
    else:
        wrong = f", {case.best!r} was expected" if case.best not in (None, case.ran) else ""
        yield f"{case.ran!r} runs{wrong}"
    for line, who in _grouped(case):
        names = " and ".join(who) if len(who) < 3 else f"{', '.join(who[:-1])} and {who[-1]}"
        yield f"{names} {'works' if len(who) == 1 else 'work'}: {line}"
    for one in case.variants:
        if one.loaded is False or one.is_false:
            yield from _not_running(one)
    if case.ran is not None:
        yield from case.fails
    yield from (f"not known: {line}" for line in case.open if not case.trouble or case.trouble not in line)


def _grouped(case: BundleCase) -> Iterator[tuple[str, list[str]]]:
    """Proofs that say the same together."""
    said: dict[str, list[str]] = {}
    proofs: list[tuple[str, Proved | None]] = [(one.name, one.proof) for one in case.variants]
    for name, proof in [*proofs, ("the fallback", case.user_space)]:
        if proof is not None and proof.works:
            said.setdefault(proof.line, []).append(name)
    yield from said.items()


def _not_running(one: VariantCase) -> Iterator[str]:
    fate = f" ({one.planned.lower().replace('_', ' ')})" if one.planned and not one.loaded else ""
    certain = next((reason for reason in one.reasons if reason.certain), None)
    reason = certain or next(iter(one.reasons), None)
    yield f"{one.name}{fate}: predicted {one.predicted.value}" + (f": {reason.line}" if reason else "")
    yield f"{one.name}: true {'LOADS' if one.loaded else 'FAILS'}" + (f": {one.words}" if one.words else "")


def variant_lines(case: BundleCase, one: VariantCase) -> Iterator[str]:
    """One variant on one kernel in full."""
    yield f"{case.bundle}: {one.name} on {case.kernel}"
    yield f"  predicted  {one.predicted.value}"
    for reason in one.reasons:
        where = f" [{reason.source}]" if reason.source else ""
        text = f"{reason.code}  {reason.need}{where}: {reason.message} (evidence: {reason.evidence})"
        yield from _wrapped(text, " " * 13, " " * 15)
    if one.loaded is None:
        yield f"  true       nobody knows: {one.trouble}"
    else:
        errno = f", errno {one.errno}" if one.errno else ""
        yield f"  true       {'LOADS' if one.loaded else 'FAILS'}{errno}"
    if one.planned:
        yield f"  the plan   {one.planned}"
    for name, sizes in one.programs.items():
        looked = f"{sizes['verified_insns']} instructions verified, " if sizes["verified_insns"] else ""
        yield f"  {name}: {looked}{sizes['xlated_size']} bytes, {sizes['jited_size']} as machine code"
    if one.words:
        yield from _wrapped(one.words, "  words      ", " " * 13)
    if one.proof is not None:
        yield from _wrapped(one.proof.line, "  works      ", " " * 13)
        yield from (f"    {line}" for line in one.proof.wrong)
    if one.broke:
        yield from _wrapped(one.broke, "  works      nobody knows: ", " " * 13)
    if one.log:
        yield "  last words"
        yield from (f"    {line}" for line in one.log.splitlines())


def bundles_summary(cases: Sequence[BundleCase]) -> str:
    """Counts in one line."""
    states = [case.state for case in cases]
    parts = []
    for state, text in (
        (State.LOADS, "run a variant"),
        (State.FAILS, "fail"),
        (State.ERROR, "could not be told"),
    ):
        if state in states:
            parts.append(f"{states.count(state)} {text}")
    variants = [one for case in cases for one in case.variants]
    loaded = sum(one.loaded is True for one in variants)
    proven = sum(one.works is True for one in variants)
    decided = [one for one in variants if one.loaded is not None and one.predicted is not Verdict.UNKNOWN]
    right = sum(not one.is_false for one in decided)
    bundles = len({case.path for case in cases})
    kernels = len({case.kernel for case in cases})
    where = f"{bundles} bundle{'' if bundles == 1 else 's'} on {kernels} kernel{'' if kernels == 1 else 's'}"
    verdicts = f"{right} of {len(decided)} verdicts right"
    return f"{where}: {', '.join(parts)}; {loaded} variants load, {proven} proven to work; {verdicts}"


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in parts)


def _wrapped(text: str, first: str, rest: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    ) or [first.rstrip()]
