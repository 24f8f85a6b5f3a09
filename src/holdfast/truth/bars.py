# SPDX-License-Identifier: Apache-2.0
"""How good predictions have to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.truth.score import Outcome, Score

__all__ = ["AGREEMENT", "FIRST_REASON", "UNKNOWN", "Bar", "bars", "missed"]

AGREEMENT: Final = 0.995
"""The least share of right ones among LOADS and FAILS."""
UNKNOWN: Final = 0.02
"""The largest share of UNKNOWN."""
FIRST_REASON: Final = 0.98
"""The least share of true FAILS whose first reason is the kernel's, among those whose words tell."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what is asked for, what was reached, and (``problem``) a line for those who miss it."""

    asked: str
    reached: str
    is_met: bool
    problem: str


def bars(score: Score) -> tuple[Bar, ...]:
    """All bars, met or missed, always in the same order."""
    first = f"{score.first:.2%}" if score.first_right + score.first_wrong else "-"
    false, judged = score.false_loads, score.outcomes[Outcome.FALSE_LOADS] - score.false_loads
    beside = f" ({judged} more by the verifier's own judgement)" if judged else ""
    return (
        Bar(
            f"at least {AGREEMENT:.1%} of LOADS and FAILS right",
            f"{score.agreement:.2%}",
            score.agreement >= AGREEMENT,
            f"{score.agreement:.2%} of LOADS and FAILS are right, {AGREEMENT:.1%} are asked for",
        ),
        Bar(
            "no false LOADS that facts could have told",
            f"{false}{beside}",
            false == 0,
            f"{false} false LOADS, none is allowed",
        ),
        Bar(
            f"at most {UNKNOWN:.0%} UNKNOWN",
            f"{score.unknown:.2%}",
            score.unknown <= UNKNOWN,
            f"{score.unknown:.2%} are UNKNOWN, {UNKNOWN:.1%} are allowed",
        ),
        Bar(
            f"at least {FIRST_REASON:.0%} of first reasons right",
            first,
            score.first >= FIRST_REASON,
            f"the first reason is right in {score.first:.2%} of FAILS, {FIRST_REASON:.1%} are asked for",
        ),
    )


def missed(score: Score) -> Iterator[str]:
    """A line for each bar that this score does not reach."""
    return (bar.problem for bar in bars(score) if not bar.is_met)
