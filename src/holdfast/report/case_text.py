# SPDX-License-Identifier: Apache-2.0
"""Cases as lines of text: kernels across and programs down, and one case in full."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.report.cases import Case, State
from holdfast.report.short_names import short_names
from holdfast.terms import Verdict

__all__ = ["case_lines", "cases_matrix", "cases_summary", "remark_lines"]

WIDTH: Final = 100
_ACROSS: Final = 12  # kernels in one table
_LABEL: Final = 32  # columns at least for the name of a program
_PREDICTED: Final = {Verdict.LOADS: "+", Verdict.FAILS: "x", Verdict.UNKNOWN: "?"}
_TRUE: Final = {State.LOADS: "+", State.FAILS: "x", State.UNKNOWN: " ", State.ERROR: "!"}


def cases_matrix(cases: Sequence[Case], width: int = WIDTH) -> Iterator[str]:
    """Two signs for each program and kernel, what was predicted and what happened, ``*`` after a pair that
    should be the same and is not. ``width`` in columns, 50 at least.
    """
    across = min(_ACROSS, (width - 2 - _LABEL) // 5)
    kernels = list(dict.fromkeys(case.kernel for case in cases))
    cells = {(case.object, case.program, case.kernel): case for case in cases}
    for number, kernel in enumerate(kernels, 1):
        yield f"  {number:>3}  {kernel}"
    legend = "predicted, then true: + loads, x fails, ? unknown, ! could not be tried, * predicted wrong"
    yield from textwrap.wrap(legend, width, initial_indent="  ", subsequent_indent="    ")
    shown_as = short_names(case.object for case in cases)
    for first in range(0, len(kernels), across):
        some = kernels[first : first + across]
        head = "".join(f"{number:>5}" for number in range(first + 1, first + 1 + len(some)))
        room = width - len(head) - 2
        yield "  " + " " * room + head
        for name, program in dict.fromkeys((case.object, case.program) for case in cases):
            label = f"{shown_as[name]}: {program}"
            label = label if len(label) <= room else label[: room - 1] + "~"
            row = "".join(_cell(cells.get((name, program, kernel))) for kernel in some)
            yield ("  " + label.ljust(room) + row).rstrip()


def _cell(case: Case | None) -> str:
    if case is None:
        return " " * 5
    return f"  {_PREDICTED[case.predicted]}{_TRUE[case.state]}{'*' if case.is_false else ' '}"


def cases_summary(cases: Sequence[Case]) -> str:
    """Counts in one line."""
    states = [case.state for case in cases]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in State if state in states)
    false = sum(case.is_false for case in cases)
    decided = sum(case.loaded is not None and case.predicted is not Verdict.UNKNOWN for case in cases)
    unknown = sum(case.predicted is Verdict.UNKNOWN for case in cases)
    right = f"{decided - false} of {decided} verdicts right" if decided else "no verdicts to compare"
    return f"{len(cases)} loads: {counts}; {right}" + (f", {unknown} UNKNOWN" if unknown else "")


def remark_lines(cases: Sequence[Case], width: int = WIDTH) -> Iterator[str]:
    """What was predicted wrong and what could not be tried, a paragraph each; trouble of a kernel once."""
    told: set[tuple[str, str]] = set()
    shown_as = short_names(case.object for case in cases)
    for case in cases:
        if case.state is State.ERROR:
            if (case.kernel, case.trouble) in told:
                continue
            told.add((case.kernel, case.trouble))
        elif not case.is_false:
            continue
        text = f"{shown_as[case.object]}: {case.program} on {case.kernel}: {case.line}"
        yield from textwrap.wrap(
            text, width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
        )


def case_lines(case: Case) -> Iterator[str]:
    """One case in full: what was predicted and why, what happened, the last words."""
    yield f"{case.object}: {case.program} on {case.kernel}"
    yield f"  predicted  {case.predicted.value}"
    for reason in case.reasons:
        where = f" [{reason.source}]" if reason.source else ""
        text = f"{reason.code}  {reason.need}{where}: {reason.message} (evidence: {reason.evidence})"
        yield from textwrap.wrap(text, WIDTH, initial_indent=" " * 13, subsequent_indent=" " * 15)
    if case.state is State.ERROR:
        yield f"  true       nobody knows: {case.trouble}"
    elif case.loaded is not None:
        errno = f", errno {case.errno}" if case.errno else ""
        looked = f", {case.processed} instructions verified" if case.processed else ""
        took = f", {case.seconds:.2f} s" if case.seconds is not None else ""
        yield f"  true       {'LOADS' if case.loaded else 'FAILS'}{errno}{looked}{took}"
    if case.stopped_at:
        yield f"  stopped at {case.stopped_at}"
    if case.said:
        yield "  last words"
        yield from (f"    {line}" for line in case.said)
