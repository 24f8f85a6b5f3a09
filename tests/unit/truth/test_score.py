# SPDX-License-Identifier: Apache-2.0
"""What counts as right, and the bars."""

from __future__ import annotations

from holdfast.predict.codes import ReasonCode
from holdfast.predict.model import ProgramVerdict, Reason, Stage
from holdfast.terms import Evidence, ProgramType, Verdict
from holdfast.truth.bars import bars, missed
from holdfast.truth.rows import TruthRow
from holdfast.truth.score import Outcome, compare, score
from holdfast.truth.score_report import score_lines, score_row
from holdfast.truth.words import WordsClass


def reason(code: ReasonCode, certain: bool = True) -> Reason:
    return Reason(code, "need", "message", Stage.LOAD, Evidence.BTF, certain)


def verdict(found: Verdict, *reasons: Reason) -> ProgramVerdict:
    return ProgramVerdict(
        "dir/a.o", "a" * 64, "p", "tc", ProgramType.SCHED_CLS, "debian/6.1", (1, 7), found, reasons, ()
    )


def row(loaded: bool, words: WordsClass = WordsClass.LOADED) -> TruthRow:
    return TruthRow("a" * 64, "debian/6.1", "libbpf-1.7.0", "p", loaded, None if loaded else 22, words)


LOADS = verdict(Verdict.LOADS)
FAILS = verdict(Verdict.FAILS, reason(ReasonCode.KFUNC_MISSING))
UNKNOWN = verdict(Verdict.UNKNOWN, reason(ReasonCode.KFUNC_UNKNOWN, certain=False))
RIGHT = compare(FAILS, row(False, WordsClass.KFUNC))


def test_outcomes() -> None:
    assert compare(LOADS, row(True)).outcome is Outcome.RIGHT
    assert compare(LOADS, row(False, WordsClass.MAP)).outcome is Outcome.FALSE_LOADS
    assert compare(FAILS, row(True)).outcome is Outcome.FALSE_FAILS
    assert compare(UNKNOWN, row(True)).outcome is Outcome.UNKNOWN
    assert (RIGHT.outcome, RIGHT.first_reason) == (Outcome.RIGHT, True)
    assert compare(FAILS, row(False, WordsClass.MAP)).first_reason is False
    assert compare(FAILS, row(False, WordsClass.VERIFIER)).first_reason is None


def test_the_first_certain_reason_is_the_one_that_is_held_against_the_kernel() -> None:
    unsure = reason(ReasonCode.MAP_UNKNOWN, certain=False)
    both = verdict(Verdict.FAILS, unsure, reason(ReasonCode.KFUNC_MISSING))
    assert compare(both, row(False, WordsClass.KFUNC)).first_reason is True


def test_shares_and_bars() -> None:
    good = score([RIGHT] * 999 + [compare(UNKNOWN, row(True))])[""]
    assert (good.agreement, good.unknown, good.first, good.total) == (1.0, 0.001, 1.0, 1000)
    assert not list(missed(good))
    one_false = score([RIGHT] * 999 + [compare(LOADS, row(False, WordsClass.MAP))])[""]
    assert list(missed(one_false)) == ["1 false LOADS, none is allowed"]
    bad = score(
        [compare(FAILS, row(True)), compare(UNKNOWN, row(True)), compare(FAILS, row(False, WordsClass.MAP))]
    )
    assert len(list(missed(bad[""]))) == 3
    assert score([])[""].agreement == 1.0


def test_what_only_the_verifier_can_tell_is_no_missed_bar() -> None:
    judged = compare(LOADS, row(False, WordsClass.VERIFIER))
    one = score([RIGHT] * 999 + [judged])[""]
    assert (one.outcomes[Outcome.FALSE_LOADS], one.false_loads) == (1, 0)
    assert not list(missed(one))
    assert [bar.reached for bar in bars(one)] == [
        "99.90%",
        "0 (1 more by the verifier's own judgement)",
        "0.00%",
        "100.00%",
    ]


def test_reports_name_what_is_wrong() -> None:
    wrong = compare(LOADS, row(False, WordsClass.MAP))
    scores = score([RIGHT, wrong])
    lines = list(score_lines(scores, [RIGHT, wrong]))
    assert all(len(line) <= 100 for line in lines)
    assert any("false LOADS: a.o: p on debian/6.1" in line for line in lines)
    assert any("no false LOADS" in line and "MISSED" in line for line in lines)
    assert any("debian/6.1" in line and "missed" in line for line in lines)
    document = score_row(scores, [RIGHT, wrong])
    assert document["total"]["false_loads"] == 1 and document["kernels"][0]["kernel"] == "debian/6.1"
    assert [(one["outcome"], one["words"]) for one in document["wrong"]] == [("false LOADS", "map")]
