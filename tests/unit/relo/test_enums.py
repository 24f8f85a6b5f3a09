# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.relo.cases import at, resolved, target_of

from holdfast.btf.ext import CoreReloKind
from holdfast.insn import Instruction
from holdfast.relo import Relocator

VALUE, EXISTS = CoreReloKind.ENUMVAL_VALUE, CoreReloKind.ENUMVAL_EXISTS


def test_values_by_name_and_in_libbpfs_form() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.enum("e", ("A", 1), ("B___old", 2))
    there = kernel.enum("e___x", ("Z", 0), ("A", 7), ("B", 9))
    assert resolved(local, kernel, at(type_id, "0", VALUE)).value == 7
    result = resolved(local, kernel, at(type_id, "1", VALUE))
    assert result.value == 9
    assert result.spec == f"<enumval_value> [{type_id}] enum e::B___old = 2"
    assert str(result.candidates[0]) == f"<enumval_value> [{there}] enum e___x::B = 9"


def test_a_missing_value() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.enum("e", ("A", 1))
    kernel.enum("e", ("AB", 1), ("a", 2))
    assert resolved(local, kernel, at(type_id, "0", VALUE)).poison
    result = resolved(local, kernel, at(type_id, "0", EXISTS))
    assert (result.value, result.poison) == (0, False)
    assert result.missing == "enum e has no value 'A'"


@pytest.mark.parametrize("typedef", [False, True])
def test_enum_and_enum64_are_one_kind(typedef: bool) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.enum("e", ("A", 1))
    there = kernel.enum64("e", ("A", 1 << 40))
    if typedef:
        type_id, _ = local.typedef("e_t", type_id), kernel.typedef("e_t", there)
    result = Relocator(local.btf(), target_of(kernel)).resolve(
        at(type_id, "0", VALUE), Instruction(0x18, 1, 0, 0, 1), Instruction(0, 0, 0, 0, 0)
    )
    assert result.value == 1 << 40
    assert [slot.imm for slot in result.patched] == [0, 1 << 8]
    assert not result.error


@pytest.mark.parametrize("signed", [False, True])
def test_narrow_values_are_sign_extended_whatever_the_enum_says(signed: bool) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    for writer in (local, kernel):
        type_id = writer.enum("e", ("A", 0xFFFFFFFE), signed=signed)
    result = resolved(local, kernel, at(type_id, "0", VALUE))
    assert result.value == (1 << 64) - 2
    assert result.patched[0].imm == -2


def test_what_is_no_enumerator_stops_the_object() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    enum, struct = local.enum("e", ("A", 1)), local.struct("s", 0)
    kernel.enum("e", ("A", 1))
    for relo in (at(enum, "1", VALUE), at(enum, "0:0", VALUE), at(struct, "0", VALUE)):
        assert resolved(local, kernel, relo).error
