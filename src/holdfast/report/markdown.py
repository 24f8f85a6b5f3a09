# SPDX-License-Identifier: Apache-2.0
"""Cases as GitHub's Markdown: a table of programs and kernels, then what there is to say about each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.report.cases import Case, State

__all__ = ["markdown"]

_WORDS: Final = {State.LOADS: "loads", State.FAILS: "**FAILS**", State.UNKNOWN: "?", State.ERROR: "(error)"}
_MOST: Final = 100  # remarks; a comment on a pull request has 65536 characters


def markdown(cases: Sequence[Case]) -> str:
    """Return the document as text."""
    return "\n".join(_lines(cases)) + "\n"


def _lines(cases: Sequence[Case]) -> Iterator[str]:
    states = [case.state for case in cases]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in State if state in states)
    false = sum(case.is_false for case in cases)
    yield f"{len(cases)} loads: {counts}" if cases else "nothing to load"
    if any(case.tried for case in cases):
        yield f"\n{false or 'no'} verdict{'' if false == 1 else 's'} of them predicted wrong"
    kernels = list(dict.fromkeys(case.kernel for case in cases))
    cells = {(case.object, case.program, case.kernel): case for case in cases}
    yield ""
    yield "| program | " + " | ".join(map(_plain, kernels)) + " |"
    yield "|---|" + "---|" * len(kernels)
    for name, program in dict.fromkeys((case.object, case.program) for case in cases):
        row = [_cell(cells.get((name, program, kernel))) for kernel in kernels]
        yield f"| {_plain(name.rsplit('/', 1)[-1])}: `{program}` | " + " | ".join(row) + " |"
    remarks = [case for case in cases if case.state is not State.LOADS or case.is_false]
    if remarks:
        yield ""
    for case in remarks[:_MOST]:
        source = f" ({case.source})" if case.source else ""
        where = f"`{case.program}` on {_plain(case.kernel)}{_plain(source)}"
        yield f"- {where}: {case.code}: {_plain(case.line)}"
    if len(remarks) > _MOST:
        yield f"- and {len(remarks) - _MOST} more"


def _cell(case: Case | None) -> str:
    if case is None:
        return ""
    return _WORDS[case.state] + (f" (predicted {case.predicted.value})" if case.is_false else "")


def _plain(text: str) -> str:
    """Without what Markdown would take for markup or for the end of a cell."""
    text = " ".join(text.split())
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, "\\" + sign)
    return text
