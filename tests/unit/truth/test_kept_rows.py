# SPDX-License-Identifier: Apache-2.0
"""What kernels once said, in ``tests/truth/rows.tsv``, against today's predictions: no verdict gets worse."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import lacks

from holdfast.kernels.catalogue import Catalogue
from holdfast.truth import rows
from holdfast.truth.bars import missed
from holdfast.truth.judge import predictions
from holdfast.truth.score import Outcome, compare, score
from holdfast.truth.score_report import score_lines
from holdfast.truth.subject import subjects

pytestmark = [pytest.mark.corpus, pytest.mark.slow]
# What is known to be predicted wrong; a rule that mends it takes it from here. Both read at a fixed offset,
# without CO-RE, through the pointer that bpf_xdp_flow_lookup() returns, and in 7.2 that is a hole of struct
# flow_offload_tuple (btf_struct_walk() in kernel/bpf/btf.c).
OPEN = {
    ("xdp_fwd_flow_full", "debian/7.2.12+deb13-cloud-amd64"),
    ("xdp_fwd_flow_direct", "debian/7.2.12+deb13-cloud-amd64"),
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
    wrong = {
        (one.row.program, one.row.kernel)
        for one in comparisons
        if one.outcome in (Outcome.FALSE_LOADS, Outcome.FALSE_FAILS)
    }
    there = {(row.program, row.kernel) for row in (one.row for one in comparisons)}
    assert wrong == OPEN & there, told
    assert [line for line in missed(scores[""]) if "false LOADS" not in line] == [], told
