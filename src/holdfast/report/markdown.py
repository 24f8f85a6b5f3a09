# SPDX-License-Identifier: Apache-2.0
"""Cases as GitHub's Markdown: a table of programs and kernels, then what there is to say about each.

It fits a comment on a pull request, whatever there is: what has no room is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.report.cases import Case, State
from holdfast.report.short_names import short_names

__all__ = ["MOST_CHARACTERS", "markdown"]

MOST_CHARACTERS: Final = 60_000
"""GitHub takes comments of 65,536 characters; the rest is for whoever puts something around it."""
_WORDS: Final = {State.LOADS: "loads", State.FAILS: "**FAILS**", State.UNKNOWN: "?", State.ERROR: "(error)"}
_SIGNS: Final = {State.LOADS: "+", State.FAILS: "**x**", State.UNKNOWN: "?", State.ERROR: "!"}
_BY_NAME: Final = 6  # kernels with names over their columns; more have numbers
_ALL_ROWS: Final = 30  # programs; of more those that load everywhere are counted only
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_NAMED: Final = 4  # kernels in a remark
_Program = tuple[str, str]


def markdown(cases: Sequence[Case]) -> str:
    """Return the document as text, at most :data:`MOST_CHARACTERS` long."""
    kernels = list(dict.fromkeys(case.kernel for case in cases))
    head = "\n".join((*_summary(cases), *_legend(kernels)))
    table, left_out = _table(cases, kernels)
    remarks = _remarks(cases)
    room = MOST_CHARACTERS - len(head) - 300  # for the sentences about what has no room
    shown_rows = _fitting(table, room)
    shown = _fitting(remarks, room - sum(len(line) + 1 for line in shown_rows))
    lines = [head, *shown_rows]
    if len(shown_rows) < len(table):
        lines += ["", f"and {len(table) - len(shown_rows)} more programs"]
    if left_out:
        lines += ["", f"{left_out} program{'' if left_out == 1 else 's'} more: loads on every kernel"]
    if remarks:
        lines += ["", *shown]
    if len(shown) < len(remarks):
        lines.append(f"- and {len(remarks) - len(shown)} more")
    return "\n".join(lines) + "\n"


def _summary(cases: Sequence[Case]) -> Iterator[str]:
    states = [case.state for case in cases]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in State if state in states)
    false = sum(case.is_false for case in cases)
    yield f"{len(cases)} loads: {counts}" if cases else "nothing to load"
    if any(case.tried for case in cases):
        yield f"\n{false or 'no'} verdict{'' if false == 1 else 's'} of them predicted wrong"


def _legend(kernels: Sequence[str]) -> Iterator[str]:
    if len(kernels) > _BY_NAME:
        yield "\n+ loads, x fails, ? cannot be told, ! could not be tried; the kernels:\n"
        yield from (f"{number}. {_plain(kernel)}" for number, kernel in enumerate(kernels, 1))
    yield ""


def _tells(case: Case) -> bool:
    return case.state is not State.LOADS or case.is_false


def _table(cases: Sequence[Case], kernels: Sequence[str]) -> tuple[list[str], int]:
    """The table's lines, and how many programs load everywhere and are left out."""
    cells = {(case.object, case.program, case.kernel): case for case in cases}
    programs = list(dict.fromkeys((case.object, case.program) for case in cases))
    telling = {
        (case.object, case.program) for case in cases if case.state is not State.LOADS or case.is_false
    }
    shown = programs if len(programs) <= _ALL_ROWS else [one for one in programs if one in telling]
    if not shown:
        return [], len(programs)
    by_name = len(kernels) <= _BY_NAME
    heads = [_plain(kernel) if by_name else str(number) for number, kernel in enumerate(kernels, 1)]
    lines = ["| program | " + " | ".join(heads) + " |", "|---|" + "---|" * len(kernels)]
    shown_as = short_names(name for name, _ in programs)
    for name, program in shown:
        row = [_cell(cells.get((name, program, kernel)), by_name) for kernel in kernels]
        lines.append(f"| {_plain(shown_as[name])}: {_code(program)} | " + " | ".join(row) + " |")
    return lines, len(programs) - len(shown)


def _cell(case: Case | None, by_name: bool) -> str:
    if case is None:
        return ""
    if not by_name:
        return _SIGNS[case.state] + ("\\*" if case.is_false else "")
    return _WORDS[case.state] + (f" (predicted {case.predicted.value})" if case.is_false else "")


def _remarks(cases: Sequence[Case]) -> list[str]:
    """A line for each thing to say, with all kernels of which it is true."""
    groups: dict[tuple[str, str, str, str, str], list[str]] = {}
    for case in cases:
        if _tells(case):
            key = case.object, case.program, case.code, case.source or "", case.line
            groups.setdefault(key, []).append(case.kernel)
    lines = []
    shown_as = short_names(case.object for case in cases)
    alone = len(shown_as) == 1
    for (name, program, code, source, line), kernels in groups.items():
        what = _code(program) if alone else f"{_plain(shown_as[name])}: {_code(program)}"
        more = f" and {len(kernels) - _NAMED} more" if len(kernels) > _NAMED else ""
        where = _plain(", ".join(kernels[:_NAMED]) + more + (f" ({source})" if source else ""))
        lines.append(f"- {what} on {where}: {code}: {_plain(line)}")
    return lines


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    """The first lines that have together at most ``room`` characters, line ends counted."""
    found = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        found.append(line)
    return found


def _code(text: str) -> str:
    """As code; a backtick or a bar in a name would end it, or the cell."""
    return f"`{_line(text).replace('`', '').replace('|', '')}`"


def _line(text: str) -> str:
    """On one line, with \ufffd for what would be an order to whoever's terminal shows it."""
    return _CONTROLS.sub("\ufffd", " ".join(text.split()))


def _plain(text: str) -> str:
    """Without what Markdown would take for markup or for the end of a cell."""
    text = _line(text)
    for sign in "\\`*_<>|[]#@":
        text = text.replace(sign, "\\" + sign)
    return text
