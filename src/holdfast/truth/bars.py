# SPDX-License-Identifier: Apache-2.0
"""How good predictions have to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.truth.score import Outcome, Score

__all__ = ["AGREEMENT", "FIRST_REASON", "UNKNOWN", "missed"]

AGREEMENT: Final = 0.995
"""The least share of right ones among LOADS and FAILS."""
UNKNOWN: Final = 0.02
"""The largest share of UNKNOWN."""
FIRST_REASON: Final = 0.98
"""The least share of true FAILS whose first reason is the kernel's, among those whose words tell."""


def missed(score: Score) -> Iterator[str]:
    """A line for each bar that this score does not reach."""
    if score.agreement < AGREEMENT:
        yield f"{score.agreement:.2%} of LOADS and FAILS are right, {AGREEMENT:.1%} are asked for"
    if score.outcomes[Outcome.FALSE_LOADS]:
        yield f"{score.outcomes[Outcome.FALSE_LOADS]} false LOADS, none is allowed"
    if score.unknown > UNKNOWN:
        yield f"{score.unknown:.2%} are UNKNOWN, {UNKNOWN:.1%} are allowed"
    if score.first < FIRST_REASON:
        yield f"the first reason is right in {score.first:.2%} of FAILS, {FIRST_REASON:.1%} are asked for"
