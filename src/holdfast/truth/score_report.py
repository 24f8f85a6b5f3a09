# SPDX-License-Identifier: Apache-2.0
"""A score as lines of text and as plain dicts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from holdfast.truth.bars import bars, missed
from holdfast.truth.score import Comparison, Outcome, Score

__all__ = ["score_lines", "score_row"]

WIDTH: Final = 100


def score_lines(
    scores: Mapping[str, Score], comparisons: Sequence[Comparison], *, verbose: bool = False
) -> Iterator[str]:
    """Counts by kernel and by reason code, wrong ones by name; ``verbose`` names also those whose first
    reason was not the kernel's.
    """
    yield f"  {'kernel':<35}{'programs':>9}{'right':>7}{'false':>13}{'UNKNOWN':>9}{'first reason':>14}  bars"
    yield f"  {'':<35}{'':>9}{'':>7}{'LOADS  FAILS':>13}"
    for kernel, one in scores.items():
        false = f"{one.outcomes[Outcome.FALSE_LOADS]:>5}  {one.outcomes[Outcome.FALSE_FAILS]:>5}"
        told = one.first_right + one.first_wrong
        first = f"{one.first_right}/{told}" if told else "-"
        name = kernel or "all"
        unknown = one.outcomes[Outcome.UNKNOWN]
        failed = sum(not bar.is_met for bar in bars(one))
        met = f"{failed} missed" if failed else "met"
        right = one.outcomes[Outcome.RIGHT]
        yield f"  {name:<35}{one.total:>9}{right:>7}{false:>13}{unknown:>9}{first:>14}  {met}"
    total = scores[""]
    yield ""
    yield f"  {'first reason of a verdict':<42}{'right':>9}{'wrong':>7}{'UNKNOWN':>22}"
    codes = sorted({*total.right_by_code, *total.wrong_by_code, *total.unknown_by_code})
    for code in codes:
        right, wrong = total.right_by_code[code], total.wrong_by_code[code]
        label = "(LOADS)" if code == "none" else code
        yield f"  {label:<42}{right:>9}{wrong:>7}{total.unknown_by_code[code]:>22}"
    yield ""
    for case in comparisons:
        if case.outcome in (Outcome.FALSE_LOADS, Outcome.FALSE_FAILS):
            yield from _wrapped(f"{case.outcome.value}: {_name(case)}: {_why(case)}")
        elif verbose and case.first_reason is False:
            yield from _wrapped(f"another first reason: {_name(case)}: {_why(case)}")
    yield f"  {'bar':<44}{'':>8}reached"
    for bar in bars(total):
        yield f"  {bar.asked:<44}{'met' if bar.is_met else 'MISSED':>6}  {bar.reached}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)


def _name(one: Comparison) -> str:
    return f"{one.verdict.object_path.rpartition('/')[2]}: {one.verdict.program} on {one.row.kernel}"


def _why(one: Comparison) -> str:
    row, reasons = one.row, one.verdict.reasons
    told = f"{reasons[0].code.value}, {reasons[0].message}" if reasons else "no reason"
    happened = "it loads" if row.loaded else f"the kernel's words are of class {row.words}, errno {row.errno}"
    return f"predicted {one.verdict.verdict.value} ({told}); {happened}"


def score_row(scores: Mapping[str, Score], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """What ``verify --score --format json`` prints, without ``schema_version``."""
    return {
        "total": _score(scores[""]),
        "kernels": [{"kernel": kernel} | _score(one) for kernel, one in scores.items() if kernel],
        "bars": [{"asked": bar.asked, "reached": bar.reached, "met": bar.is_met} for bar in bars(scores[""])],
        "bars_missed": list(missed(scores[""])),
        "wrong": [
            {
                "object": one.verdict.object_path,
                "sha256": one.row.sha256,
                "program": one.row.program,
                "kernel": one.row.kernel,
                "outcome": one.outcome.value,
                "predicted": one.verdict.verdict.value,
                "code": one.verdict.reasons[0].code.value if one.verdict.reasons else None,
                "loaded": one.row.loaded,
                "errno": one.row.errno,
                "words": one.row.words.value,
            }
            for one in comparisons
            if one.outcome in (Outcome.FALSE_LOADS, Outcome.FALSE_FAILS) or one.first_reason is False
        ],
    }


def _score(one: Score) -> dict[str, Any]:
    codes = sorted({*one.right_by_code, *one.wrong_by_code, *one.unknown_by_code})
    return {
        "programs": one.total,
        "right": one.outcomes[Outcome.RIGHT],
        "false_loads": one.outcomes[Outcome.FALSE_LOADS],
        "false_fails": one.outcomes[Outcome.FALSE_FAILS],
        "unknown": one.outcomes[Outcome.UNKNOWN],
        "agreement": round(one.agreement, 5),
        "first_reason_right": one.first_right,
        "first_reason_wrong": one.first_wrong,
        "bars_missed": list(missed(one)),
        "codes": {
            code: {
                "right": one.right_by_code[code],
                "wrong": one.wrong_by_code[code],
                "unknown": one.unknown_by_code[code],
            }
            for code in codes
        },
    }
