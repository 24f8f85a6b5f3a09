# SPDX-License-Identifier: Apache-2.0
"""Which instructions are patched, what must stand in them, and when a load is resized or poisoned."""

from __future__ import annotations

import errno

import pytest
from tests.btfwriter import BOOL, SIGNED, BtfWriter
from tests.unit.relo.cases import at, mov, target_of

from holdfast.insn import Instruction
from holdfast.relo import BAD_RELO, Relocator, Resolution

ZERO = Instruction(0, 0, 0, 0, 0)
LDX_W, LDX_DW, STX_W, ST_H = 0x61, 0x79, 0x63, 0x6A


def moved(insn: Instruction, following: Instruction | None = None, *, bits: int = 64) -> Resolution:
    """A field of 4 bytes that moved from byte 4 to ``bits`` / 8."""
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8, ("a", local.integer(), 32))
    kernel.struct("s", 1 << 20, ("a", kernel.integer(), bits))
    return Relocator(local.btf(), target_of(kernel)).resolve(at(type_id, "0:0"), insn, following)


@pytest.mark.parametrize("opcode", [0xB7, 0xB4, 0x07, 0x04])
def test_immediates(opcode: int) -> None:
    insn = Instruction(opcode, 3, 0, 0, 4)
    assert moved(insn).patched == (insn._replace(imm=8),)


@pytest.mark.parametrize("opcode", [LDX_W, STX_W, 0x62])
def test_offsets(opcode: int) -> None:
    insn = Instruction(opcode, 1, 2, 4, 99)
    assert moved(insn).patched == (insn._replace(off=8),)


def test_wide_immediates() -> None:
    insn = Instruction(0x18, 1, 0, 0, 4)
    assert moved(insn, ZERO).patched == (insn._replace(imm=8), ZERO)


@pytest.mark.parametrize(
    ("insn", "following", "words"),
    [
        (mov(5), None, "unexpected insn (ALU/ALU64) value: got 5, exp 4 -> 8"),
        (Instruction(LDX_W, 1, 2, 0, 0), None, "unexpected insn (LDX/ST/STX) value: got 0, exp 4 -> 8"),
        (
            Instruction(0x18, 1, 0, 0, 4),
            ZERO._replace(imm=1),
            "unexpected insn (LDIMM64) value: got 4294967300",
        ),
        (Instruction(0x18, 1, 1, 0, 4), ZERO, "unexpected form"),
        (Instruction(0x18, 1, 0, 0, 4), mov(0), "unexpected form"),
        (Instruction(0x30, 1, 0, 0, 4), None, "unexpected form"),
        (Instruction(0xBF, 1, 2, 0, 4), None, "no immediate operand"),
        (Instruction(0x05, 0, 0, 4, 4), None, "trying to relocate unrecognized insn, code:0x5"),
    ],
)
def test_what_is_not_patched(insn: Instruction, following: Instruction | None, words: str) -> None:
    result = moved(insn, following)
    assert result.error
    assert result.error.errno == errno.EINVAL
    assert words in result.error.message
    assert not result.patched


def test_an_offset_beyond_16_bits() -> None:
    insn = Instruction(LDX_W, 1, 2, 4, 0)
    assert moved(insn, bits=8 * 0x7FFF).patched[0].off == 0x7FFF
    result = moved(insn, bits=8 * 0x8000)
    assert result.error
    assert result.error.errno == errno.ERANGE
    assert moved(mov(4), bits=8 * 0x8000).patched[0].imm == 0x8000, "an immediate is wide enough"


def test_poison_takes_both_slots_of_a_wide_instruction() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8, ("a", local.integer(), 32))
    relocator = Relocator(local.btf(), target_of(kernel))
    call = Instruction(0x85, 0, 0, 0, BAD_RELO)
    assert relocator.resolve(at(type_id, "0:0"), Instruction(0x18, 1, 0, 0, 0), ZERO).patched == (call, call)
    assert relocator.resolve(at(type_id, "0:0"), mov(1)).patched == (call,), "its own number is not checked"
    assert BAD_RELO == 0xBAD2310


def resized(mine: tuple[str, int, int], theirs: tuple[str, int, int], insn: Instruction) -> Resolution:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8, ("a", local.integer(*mine), 0))
    kernel.struct("s", 8, ("a", kernel.integer(*theirs), 0))
    return Relocator(local.btf(), target_of(kernel)).resolve(at(type_id, "0:0"), insn)


@pytest.mark.parametrize(
    ("size", "opcode"),
    [(1, 0x71), (2, 0x69), (8, LDX_DW)],
)
def test_loads_of_unsigned_integers_are_resized(size: int, opcode: int) -> None:
    insn = Instruction(LDX_W, 1, 2, 0, 0)
    assert resized(("u", 4, 0), ("v", size, 0), insn).patched == (insn._replace(opcode=opcode),)


def test_stores_are_resized_too() -> None:
    assert resized(("u", 2, 0), ("v", 4, 0), Instruction(ST_H, 1, 0, 0, 7)).patched[0].opcode == 0x62


@pytest.mark.parametrize("signed", [(SIGNED, 0), (0, SIGNED), (SIGNED, SIGNED)])
def test_loads_of_signed_integers_are_poisoned(signed: tuple[int, int]) -> None:
    result = resized(("u", 4, signed[0]), ("v", 8, signed[1]), Instruction(LDX_W, 1, 2, 0, 0))
    assert result.poison
    assert not result.error
    assert result.warning
    assert "accesses field incorrectly" in result.warning
    immediate = resized(("u", 4, signed[0]), ("v", 8, signed[1]), mov(0))
    assert immediate.patched == (mov(0),), "an immediate operand does not care"


def test_only_a_plain_signed_encoding_counts_as_signed() -> None:
    assert not resized(("u", 4, SIGNED | BOOL), ("v", 8, 0), Instruction(LDX_W, 1, 2, 0, 0)).poison


@pytest.mark.parametrize(
    ("size", "words"), [(16, "invalid new mem size: 16"), (8, "unexpected mem size: got 8, exp 4")]
)
def test_sizes_that_no_load_has(size: int, words: str) -> None:
    opcode = LDX_W if size == 16 else LDX_DW
    result = resized(("u", 4, 0), ("v", size, 0), Instruction(opcode, 1, 2, 0, 0))
    assert result.error
    assert result.error.message.endswith(words)


def test_pointers_of_a_32_bit_kernel() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 16, ("x", local.ptr(0), 0), ("p", local.ptr(0), 64))
    kernel.integer("long unsigned int", 4, 0)
    kernel.struct("s", 8, ("x", kernel.ptr(0), 0), ("p", kernel.ptr(0), 32))
    insn = Instruction(LDX_DW, 1, 2, 8, 0)
    result = Relocator(local.btf(), target_of(kernel)).resolve(at(type_id, "0:1"), insn)
    assert result.patched == (Instruction(LDX_W, 1, 2, 4, 0),)
