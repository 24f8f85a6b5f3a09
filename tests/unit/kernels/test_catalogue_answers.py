# SPDX-License-Identifier: Apache-2.0
"""Answers of probes as they are kept: the same ones come back, and what is damaged is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.kernels import HelperUse, KfuncUse, ProbeFacts
from holdfast.kernels.answer_table import RowText
from holdfast.kernels.catalogue import KernelRow
from holdfast.kernels.catalogue.answers import pack_answers, read_answers
from holdfast.kernels.catalogue.asked import Asked
from holdfast.kernels.catalogue.parts import DamagedError, pack
from holdfast.kernels.probed import KindUse
from holdfast.terms import AttachType, MapType, ProgramType

XDP, KPROBE = ProgramType.XDP, ProgramType.KPROBE
SESSION = AttachType.TRACE_KPROBE_SESSION
PROBES = ProbeFacts(
    {XDP: True, KPROBE: None},
    {MapType.HASH: True, MapType.ARENA: False},
    {HelperUse(1, XDP): True, HelperUse(147, KPROBE, SESSION, True): None},
    {KfuncUse("bpf_a", XDP): True, KfuncUse("bpf_a", KPROBE, SESSION, False): False},
    {"ldsx": True},
    "",
    {KindUse(KPROBE, SESSION, True): False, KindUse(XDP): True},
    {AttachType.XDP: None},
    {"TCX": True},
    {"fentry.s": False},
)
ROW = KernelRow("debian/6.12.0", "6.12.0", "x86_64", "debian", "linux-image-6.12.0 1", False, 0, "")


def test_the_same_answers_come_back() -> None:
    assert read_answers(pack_answers(PROBES)) == PROBES
    assert read_answers(pack_answers(ProbeFacts())) == ProbeFacts()
    assert read_answers(pack_answers(ProbeFacts(obstacle="no CAP_BPF"))).obstacle == "no CAP_BPF"
    same = ProbeFacts(helpers={HelperUse(1, XDP): True}, kfuncs={KfuncUse("bpf_a", XDP): False})
    again = read_answers(pack_answers(read_answers(pack_answers(same))))
    assert again == same and again.kfunc(KfuncUse("bpf_a", XDP)) is False
    assert again.kfunc_by_type("bpf_a") == {XDP: {False}}


def test_rows_that_do_not_fit_are_not_there() -> None:
    rows = RowText("bpf_a 10?\nbpf_b 1\nbpf_c 102\n\nbpf_d 1.1\n", 3, str)
    assert dict(rows) == {"bpf_a": "10?", "bpf_d": "1.1"} and len(rows) == 2
    for absent in ("bpf_b", "bpf_c", "bpf", "a", "", 1):
        assert absent not in rows
    numbers = RowText("1 11\nx 11\n22 00\n", 2, int)
    assert dict(numbers) == {1: "11", 22: "00"} and "1" not in numbers and 2 not in numbers


def test_what_is_none_of_ours_is_refused() -> None:
    parts = dict.fromkeys(("obstacle", "ways", "ways2", "helpers", "kfuncs", "tables"), b"")
    assert read_answers(pack("answers", parts | {"tables": b"no JSON"})) == ProbeFacts()
    for name, content in (("ways", b"\xff\xfe" * 3), ("ways", b"123"), ("kfuncs", b"\xff")):
        with pytest.raises(DamagedError):
            read_answers(pack("answers", parts | {name: content}))
    with pytest.raises(DamagedError):
        read_answers(pack("others", parts))


def test_answers_are_kept_beside_the_catalogue(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "asked")
    assert asked.get(ROW) is None and not asked.has(ROW)
    asked.put(ROW, PROBES)
    assert asked.get(ROW) == PROBES and asked.has(ROW)
    (file,) = (tmp_path / "asked").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert asked.get(ROW) is None
    file.write_bytes(b"")
    assert asked.get(ROW) is None
