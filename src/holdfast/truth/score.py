# SPDX-License-Identifier: Apache-2.0
"""Predictions held against rows: what was right, what was not and by name, what was left open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.predict.model import ProgramVerdict
from holdfast.terms import Verdict
from holdfast.truth.rows import TruthRow
from holdfast.truth.words import WordsClass, agrees

__all__ = ["Comparison", "Outcome", "Score", "compare", "score"]


class Outcome(StrEnum):
    """How a verdict fared."""

    RIGHT = "right"
    FALSE_LOADS = "false LOADS"
    FALSE_FAILS = "false FAILS"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One program on one kernel: what was predicted, what happened, and whether the first reason was the
    kernel's (None where it loads, or its words tell too little).
    """

    verdict: ProgramVerdict
    row: TruthRow
    outcome: Outcome
    first_reason: bool | None = None


@dataclass(slots=True)
class Score:
    """Counts of one kernel, or of all."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    right_by_code: Counter[str] = field(default_factory=Counter)
    wrong_by_code: Counter[str] = field(default_factory=Counter)
    unknown_by_code: Counter[str] = field(default_factory=Counter)
    loads: int = 0
    fails: int = 0
    first_right: int = 0
    first_wrong: int = 0
    false_loads: int = 0
    """False LOADS that facts could have told: not those that the verifier refused by following values."""

    @property
    def decided(self) -> int:
        """How many verdicts were LOADS or FAILS."""
        return self.total - self.outcomes[Outcome.UNKNOWN]

    @property
    def total(self) -> int:
        """How many programs were compared."""
        return sum(self.outcomes.values())

    @property
    def agreement(self) -> float:
        """The share of right ones among LOADS and FAILS; 1 where there are none."""
        return self.outcomes[Outcome.RIGHT] / self.decided if self.decided else 1.0

    @property
    def unknown(self) -> float:
        """The share of UNKNOWN."""
        return self.outcomes[Outcome.UNKNOWN] / self.total if self.total else 0.0

    @property
    def first(self) -> float:
        """The share of true FAILS whose first reason is the kernel's, of those whose words tell; 1 where
        there are none.
        """
        told = self.first_right + self.first_wrong
        return self.first_right / told if told else 1.0

    def add(self, one: Comparison) -> None:
        """Count it."""
        self.outcomes[one.outcome] += 1
        self.loads += one.row.loaded
        self.fails += not one.row.loaded
        self.false_loads += one.outcome is Outcome.FALSE_LOADS and one.row.words is not WordsClass.VERIFIER
        code = one.verdict.reasons[0].code.value if one.verdict.reasons else "none"
        if one.outcome is Outcome.UNKNOWN:
            self.unknown_by_code[code] += 1
        elif one.outcome is Outcome.RIGHT:
            self.right_by_code[code] += 1
        else:
            self.wrong_by_code[code] += 1
        self.first_right += one.first_reason is True
        self.first_wrong += one.first_reason is False


def compare(verdict: ProgramVerdict, row: TruthRow) -> Comparison:
    """Hold a verdict against the row of the same program on the same kernel."""
    if verdict.verdict is Verdict.UNKNOWN:
        return Comparison(verdict, row, Outcome.UNKNOWN)
    if verdict.verdict is Verdict.LOADS:
        return Comparison(verdict, row, Outcome.RIGHT if row.loaded else Outcome.FALSE_LOADS)
    if row.loaded:
        return Comparison(verdict, row, Outcome.FALSE_FAILS)
    first = next(reason for reason in verdict.reasons if reason.certain)
    return Comparison(verdict, row, Outcome.RIGHT, agrees(row.words, first.code))


def score(comparisons: Iterable[Comparison]) -> Mapping[str, Score]:
    """Scores by kernel id, in the order of the comparisons; ``""`` has them all."""
    found: dict[str, Score] = {}
    total = Score()
    for one in comparisons:
        found.setdefault(one.row.kernel, Score()).add(one)
        total.add(one)
    return {**found, "": total}
