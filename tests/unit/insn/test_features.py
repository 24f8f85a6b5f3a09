# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from tests.unit.insn.asm import EXIT, call, goto, if_, lddw, mov

from holdfast.insn import Instruction
from holdfast.insn.features import FEATURES, InsnFeature, features, first_slots, isa_level

F = InsnFeature


def insn(op: int, src: int = 0, off: int = 0, imm: int = 0) -> Instruction:
    return Instruction(op, 1, src, off, imm)


ROWS: list[tuple[Instruction, set[InsnFeature]]] = [
    (insn(0xB7), set()),
    (insn(0x0F), set()),
    (insn(0x04), {F.ALU32}),
    (insn(0xBC), {F.ALU32}),
    (insn(0xBC, off=8), {F.ALU32, F.MOVSX}),
    (insn(0xBF, off=32), {F.MOVSX}),
    (insn(0xBF, off=1, imm=1), {F.ADDR_SPACE_CAST}),
    (insn(0xBF, off=3), {F.UNKNOWN}),
    (insn(0x3F), set()),
    (insn(0x3F, off=1), {F.SDIV_SMOD}),
    (insn(0x94, off=1), {F.ALU32, F.SDIV_SMOD}),
    (insn(0xD7, imm=16), {F.BSWAP}),
    (insn(0xDC, imm=16), set()),
    (insn(0xD4, imm=64), set()),
    (insn(0x15, off=1), set()),
    (insn(0xA5, off=1), {F.JMP_LESS}),
    (insn(0xDD, off=1), {F.JMP_LESS}),
    (insn(0x16, off=1), {F.JMP32}),
    (insn(0xC6, off=1), {F.JMP32, F.JMP_LESS}),
    (insn(0x06, imm=1), {F.GOTOL}),
    (insn(0xE5, off=1), {F.MAY_GOTO}),
    (insn(0x0D), {F.INDIRECT_JUMP}),
    (insn(0x8D), {F.UNKNOWN}),
    (insn(0x85, imm=1), set()),
    (insn(0x85, src=1, imm=1), {F.BPF2BPF}),
    (insn(0x85, src=2, imm=1), {F.KFUNC_CALL}),
    (insn(0x85, src=2, off=3, imm=1), {F.KFUNC_CALL, F.MODULE_KFUNC_CALL}),
    (insn(0x81), {F.LDSX}),
    (insn(0x99), {F.UNKNOWN}),
    (insn(0x61), set()),
    (insn(0x20), {F.LD_ABS}),
    (insn(0x48), {F.LD_ABS}),
    (insn(0xDB), set()),
    (insn(0xC3, imm=0x50), {F.ATOMIC_BITWISE}),
    (insn(0xDB, imm=0x01), {F.ATOMIC_FETCH}),
    (insn(0xDB, imm=0xA1), {F.ATOMIC_BITWISE, F.ATOMIC_FETCH}),
    (insn(0xC3, imm=0xE1), {F.ATOMIC_XCHG}),
    (insn(0xDB, imm=0xF1), {F.ATOMIC_CMPXCHG}),
    (insn(0xD3, imm=0x100), {F.LOAD_ACQUIRE}),
    (insn(0xCB, imm=0x110), {F.STORE_RELEASE}),
    (insn(0xD3, imm=0x00), {F.UNKNOWN}),
    (insn(0xDB, imm=0x77), {F.UNKNOWN}),
    (insn(0xFF), {F.UNKNOWN}),
    (insn(0x00), {F.UNKNOWN}),
]


@pytest.mark.parametrize(("one", "expected"), ROWS)
def test_features_of_one_instruction(one: Instruction, expected: set[InsnFeature]) -> None:
    assert features((one, EXIT, EXIT, EXIT)) == expected


@pytest.mark.parametrize(
    ("src", "expected"),
    [
        (0, set()),
        (1, set()),
        (2, {F.MAP_VALUE_ADDRESS}),
        (3, {F.KSYM_ADDRESS}),
        (4, {F.CALLBACK}),
        (5, {F.MAP_INDEX}),
        (6, {F.MAP_INDEX, F.MAP_VALUE_ADDRESS}),
        (7, {F.UNKNOWN}),
    ],
)
def test_wide_loads_by_their_source(src: int, expected: set[InsnFeature]) -> None:
    assert features((*lddw(1, 5, src=src), EXIT)) == expected


def test_first_slot_and_a_choice_of_slots() -> None:
    insns = (mov(0, 0), insn(0x04), insn(0xD7, imm=16), insn(0x04), EXIT)
    assert first_slots(insns) == {F.ALU32: 1, F.BSWAP: 2}
    assert first_slots(insns, slots=(0, 3, 4, 77)) == {F.ALU32: 3}


def test_loop_is_where_the_edge_starts() -> None:
    insns = (mov(1, 0), call(7), if_(0, "!=", 0, -2), EXIT)
    assert first_slots(insns)[F.LOOP] == 2
    assert F.LOOP not in features((goto(2), mov(0, 0), EXIT, goto(-3)))


def test_level_is_the_highest_of_all() -> None:
    assert isa_level(()) == 1
    assert isa_level({F.JMP_LESS}) == 2
    assert isa_level({F.JMP_LESS, F.ALU32}) == 3
    assert isa_level({F.LDSX, F.JMP32}) == 4


def test_every_feature_has_its_origin() -> None:
    assert set(FEATURES) == set(InsnFeature)
    for origin in FEATURES.values():
        assert 1 <= origin.isa <= 4
        assert origin.commit is None or len(origin.commit) == 12
