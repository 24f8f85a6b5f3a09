# SPDX-License-Identifier: Apache-2.0
"""The closed lists of reasons and hazards: each appears for its cause, and docs/reasons.md explains it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.unit.predict.cases import CASES, Case, Side

from holdfast.elf import ObjectSpec, object_from_bytes
from holdfast.predict import Hazard, HazardCode, ProgramVerdict, Reason, ReasonCode, check_object
from holdfast.terms import Verdict

Compile = Callable[..., ObjectSpec]
DOCUMENT = Path(__file__).parents[3] / "docs/reasons.md"


JUDGED: dict[int, list[ProgramVerdict]] = {}


def judge(side: Side, compiled: Compile) -> list[ProgramVerdict]:
    if id(side) not in JUDGED:
        JUDGED[id(side)] = _judge(side, compiled)
    return JUDGED[id(side)]


def _judge(side: Side, compiled: Compile) -> list[ProgramVerdict]:
    if callable(side.source):
        spec = object_from_bytes(side.source(), "test.o")
    else:
        spec = compiled(side.source, **side.options)
    return check_object(spec, side.kernel(), libbpf=side.libbpf)


def found(verdicts: list[ProgramVerdict], code: ReasonCode | HazardCode) -> list[Reason | Hazard]:
    rows: list[Reason | Hazard] = [row for v in verdicts for row in (*v.reasons, *v.hazards)]
    return [row for row in rows if row.code is code]


def name_of(case: Case) -> str:
    return f"{case.code}-{case.name}" if case.name else str(case.code)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_it_appears_for_its_cause_and_not_beside_it(case: Case, compiled: Compile) -> None:
    verdicts = judge(case.here, compiled)
    rows = found(verdicts, case.code)
    assert rows, [(r.code, r.message) for v in verdicts for r in (*v.reasons, *v.hazards)]
    assert any(case.words in row.message for row in rows), [row.message for row in rows]
    beside = judge(case.neighbour, compiled)
    assert not found(beside, case.code), found(beside, case.code)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_is_said_keeps_the_promises_of_the_document(case: Case, compiled: Compile) -> None:
    for side in (case.here, case.neighbour):
        for verdict in judge(side, compiled):
            reasons = verdict.reasons
            certain = [reason for reason in reasons if reason.certain]
            expected = Verdict.FAILS if certain else Verdict.UNKNOWN if reasons else Verdict.LOADS
            assert verdict.verdict is expected
            assert list(reasons) == sorted(reasons, key=lambda reason: (reason.stage, reason.order))
            for reason in reasons:
                assert reason.certain is not reason.code.endswith("_UNKNOWN"), reason
                stages, evidence = documented()[reason.code]
                assert reason.stage.name in stages, reason
                assert reason.evidence.value in evidence, reason
                assert reason.need and reason.message
                assert "\n" not in reason.message and not reason.message.endswith(".")


@cache
def documented() -> dict[str, tuple[set[str], set[str]]]:
    """By code: the stages and the evidence that the page names."""
    sections = re.split(r"^### ([A-Z_]+)$", DOCUMENT.read_text(), flags=re.M)[1:]
    result = {}
    for code, text in zip(sections[::2], sections[1::2], strict=True):
        head = re.search(r"- Stage: (.*?)\. Evidence: (.*?)\.\n", text, re.S)
        stages, evidence = (
            (set(re.findall(r"`(\w+)`", part)) for part in head.groups()) if head else (set(), set())
        )
        result[code] = (stages, evidence)
    return result


def test_the_page_explains_just_these_codes() -> None:
    assert set(documented()) == {*map(str, ReasonCode), *map(str, HazardCode)}


def test_the_page_names_each_once() -> None:
    headings = re.findall(r"^### (\w+)$", DOCUMENT.read_text(), re.M)
    assert len(headings) == len(set(headings))


def test_every_code_has_a_case() -> None:
    shown = {case.code for case in CASES}
    never_predicted = {
        ReasonCode.LOAD_REFUSED
    }  # what a load on record said, see tests/unit/truth/test_loads.py
    assert {*ReasonCode, *HazardCode} == shown | never_predicted
    assert not shown & never_predicted
