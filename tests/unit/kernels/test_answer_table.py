# SPDX-License-Identifier: Apache-2.0
"""Tables of answers are the same answers as a dict, and come back from plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.kernels import HelperUse, KfuncUse, ProbeFacts
from holdfast.kernels.answer_table import AnswerTable, Way
from holdfast.kernels.probe_plain import from_plain, to_plain
from holdfast.kernels.probed import KindUse
from holdfast.terms import AttachType, MapType, ProgramType

XDP, KPROBE = ProgramType.XDP, ProgramType.KPROBE
SESSION = AttachType.TRACE_KPROBE_SESSION
ANSWERS: dict[KfuncUse, bool | None] = {
    KfuncUse("bpf_a", XDP): True,
    KfuncUse("bpf_a", KPROBE, SESSION): None,
    KfuncUse("bpf_a", KPROBE, SESSION, False): False,
    KfuncUse("bpf_b", XDP): False,
    KfuncUse("bpf_b", KPROBE, AttachType(0), True): True,
}
PROBES = ProbeFacts(
    {XDP: True, KPROBE: None},
    {MapType.HASH: True, MapType.ARENA: False},
    {HelperUse(1, XDP): True, HelperUse(147, KPROBE, SESSION, True): None},
    ANSWERS,
    {"ldsx": True},
    "",
    {KindUse(KPROBE, SESSION, True): False, KindUse(XDP): True},
    {AttachType.XDP: None},
    {"TCX": True},
    {"fentry.s": False},
)


def test_a_table_is_the_same_answers() -> None:
    table = AnswerTable.of(KfuncUse, ANSWERS)
    assert dict(table) == ANSWERS
    assert table == ANSWERS
    assert len(table) == len(ANSWERS)
    assert AnswerTable.of(KfuncUse, table) is table
    assert table[KfuncUse("bpf_b", XDP)] is False
    for absent in (KfuncUse("bpf_b", KPROBE), KfuncUse("bpf_c", XDP), KfuncUse("bpf_b", KPROBE, SESSION)):
        assert table.get(absent, "not asked") == "not asked"


@pytest.mark.parametrize(
    ("ways", "rows"),
    [
        ((Way(XDP),), {"bpf_a": "10"}),
        ((Way(XDP),), {"bpf_a": "2"}),
        ((Way(XDP),), {"bpf_a": ""}),
        ((Way(XDP), Way(XDP)), {"bpf_a": "11"}),
    ],
)
def test_rows_that_do_not_fit_are_refused(ways: tuple[Way, ...], rows: dict[int | str, str]) -> None:
    with pytest.raises(ValueError, match=r"no row|twice"):
        AnswerTable(KfuncUse, ways, rows)


def test_answers_of_probes_join_as_dicts_do() -> None:
    table = ProbeFacts(kfuncs=AnswerTable.of(KfuncUse, ANSWERS))
    newer = ProbeFacts(kfuncs={KfuncUse("bpf_b", XDP): True}, link_types={"TCX": False})
    joined = table | newer
    assert joined.kfuncs == {**ANSWERS, KfuncUse("bpf_b", XDP): True}
    assert joined.link_types == {"TCX": False}
    assert (table | ProbeFacts()).kfuncs is table.kfuncs
    assert ProbeFacts(attachments={"fentry.s": False}).decided


def test_probes_come_back_from_json() -> None:
    assert from_plain(json.loads(json.dumps(to_plain(PROBES)))) == PROBES
    assert from_plain({}) == ProbeFacts()


def spoilt(*path: str | int, value: object) -> Any:
    raw = to_plain(PROBES)
    at: Any = raw
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return raw


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        spoilt("obstacle", value=5),
        spoilt("obstacle", value="x" * 2000),
        spoilt("program_types", value=[]),
        spoilt("program_types", "NO_SUCH_TYPE", value=True),
        spoilt("program_types", "XDP", value=1),
        spoilt("map_types", "HASH", value="yes"),
        spoilt("link_types", "a\nb", value=True),
        spoilt("helpers", "rows", "-1", value="11"),
        spoilt("helpers", "rows", "\N{SUPERSCRIPT TWO}", value="11"),
        spoilt("helpers", "rows", "1", value="1"),
        spoilt("helpers", "ways", 0, value=["XDP", None]),
        spoilt("kfuncs", "rows", "\ud800", value="....."),
        spoilt("kfuncs", "rows", "bpf_a", value=["1"]),
        spoilt("kfuncs", "ways", value=[["XDP", None, None]] * 2000),
        spoilt("kfuncs", "ways", 0, value=["XDP", "NO_SUCH", None]),
        spoilt("kfuncs", "ways", 0, value=["XDP", None, "no"]),
        spoilt("kinds", 0, value=["XDP"]),
        spoilt("kinds", value={}),
    ],
)
def test_anything_else_is_one_kind_of_error(raw: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        from_plain(raw)


def test_a_type_without_attach_types_has_the_same_answer_for_all() -> None:
    table = AnswerTable.of(
        KfuncUse,
        {
            KfuncUse("bpf_a", XDP): True,
            KfuncUse("bpf_a", XDP, AttachType.XDP): True,
            KfuncUse("bpf_a", ProgramType.SCHED_CLS): True,
            KfuncUse("bpf_a", ProgramType.SCHED_CLS, None, False): True,
            KfuncUse("bpf_a", ProgramType.STRUCT_OPS): True,
        },
    )
    probes = ProbeFacts(kfuncs=table)
    assert probes.kfunc(KfuncUse("bpf_a", ProgramType.SCHED_CLS, AttachType.TCX_INGRESS, False)) is True
    # One of its attach types admits it, which says nothing of another, nor one function of struct_ops.
    assert probes.kfunc(KfuncUse("bpf_a", XDP, AttachType.XDP_DEVMAP)) is None
    assert probes.kfunc(KfuncUse("bpf_a", ProgramType.STRUCT_OPS, AttachType.STRUCT_OPS)) is None


@pytest.mark.parametrize("answers", [ANSWERS, AnswerTable.of(KfuncUse, ANSWERS)])
def test_answers_by_program_type(answers: dict[KfuncUse, bool | None]) -> None:
    probes = ProbeFacts(kfuncs=answers)
    assert probes.kfunc_by_type("bpf_a") == {XDP: {True}, KPROBE: {None}}
    assert probes.kfunc_by_type("bpf_b") == {XDP: {False}}
    assert probes.kfunc_by_type("bpf_c") == {}
