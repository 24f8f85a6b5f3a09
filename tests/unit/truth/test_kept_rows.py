# SPDX-License-Identifier: Apache-2.0
"""What kernels once said, in ``tests/truth/rows.tsv``, against today's predictions: no verdict gets worse."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.conftest import lacks

from holdfast.kernels.catalogue import Catalogue
from holdfast.truth import rows
from holdfast.truth.bars import missed
from holdfast.truth.judge import predictions
from holdfast.truth.rows import Truth
from holdfast.truth.score import Comparison, Outcome, compare, score
from holdfast.truth.score_report import score_lines
from holdfast.truth.subject import subjects

pytestmark = [pytest.mark.corpus, pytest.mark.slow]
# What is known to be predicted wrong, and what is left open, each by its object, program and kernel: a rule
# that mends it takes it from here.
OPEN: set[tuple[str, str, str]] = set()
UNSURE = {
    # the kfunc may sleep, and whether the callback that calls it does is not followed
    ("sid.udev-hid-bpf__0010-XPPen__ACK05.o", "ack05_fix_events"),
}
ROWS = Path(__file__).parents[2] / "truth/rows.tsv"


def test_predictions_reach_the_bars(corpus: list[Path]) -> None:
    truth = rows.read(ROWS)
    builtin = Catalogue.builtin()
    ids = sorted({row.kernel for row in truth.rows.values()})
    facts = [builtin.facts(one) for one in ids if one in builtin]
    if not facts:
        lacks("the built-in catalogue has none of the kernels of tests/truth/rows.tsv")
    found = [subject for subject in subjects(corpus) if subject.sha256 in truth.names]
    if not found:
        lacks("none of the objects of tests/truth/rows.tsv is in the corpus")
    predicted = predictions(found, facts, (1, 7))
    comparisons = [
        compare(verdict, row)
        for row in truth.rows.values()
        if row.loader.startswith("libbpf-1.7.")
        and (verdict := predicted.get((row.kernel, row.sha256, row.program))) is not None
    ]
    assert comparisons
    scores = score(comparisons)
    told = "\n".join(score_lines(scores, comparisons, verbose=True))
    wrong = _named(comparisons, truth, Outcome.FALSE_LOADS, Outcome.FALSE_FAILS)
    assert wrong == OPEN & _named(comparisons, truth), told
    unknown = _named(comparisons, truth, Outcome.UNKNOWN)
    assert {(name, program) for name, program, _ in unknown} <= UNSURE, told
    for kernel, one in scores.items():
        assert list(missed(one)) == [], f"{kernel or 'all'}:\n{told}"


def _named(comparisons: Iterable[Comparison], truth: Truth, *outcomes: Outcome) -> set[tuple[str, str, str]]:
    return {
        (truth.names[one.row.sha256], one.row.program, one.row.kernel)
        for one in comparisons
        if not outcomes or one.outcome in outcomes
    }
