# SPDX-License-Identifier: Apache-2.0
"""Bit fields: the smallest aligned load that holds one, and the shifts that cut it out."""

from __future__ import annotations

import errno

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.relo.cases import at, mov, resolved

from holdfast.btf.ext import CoreReloKind

KINDS = (
    CoreReloKind.FIELD_BYTE_OFFSET,
    CoreReloKind.FIELD_BYTE_SIZE,
    CoreReloKind.FIELD_LSHIFT_U64,
    CoreReloKind.FIELD_RSHIFT_U64,
)


def values(order: str, bit_offset: int, bits: int, size: int = 4) -> list[int]:
    local, kernel = BtfWriter(order), BtfWriter(order)
    type_id = local.struct("s", 8, ("f", local.integer("u32", 4, 0), 0))
    number = kernel.integer("u", size, 0)
    kernel.struct("s", 32, ("f", number, bit_offset, bits))
    return [resolved(local, kernel, at(type_id, "0:0", kind)).value for kind in KINDS]


@pytest.mark.parametrize(
    ("bit_offset", "bits", "expected"),
    [
        (0, 1, [0, 4, 63, 63]),
        (5, 3, [0, 4, 56, 61]),
        (33, 4, [4, 4, 64 - 5, 60]),
        (30, 4, [0, 8, 64 - 34, 60]),  # over the edge of 32 bits: a load of 8 bytes
        (62, 4, None),  # over the edge of 64 bits: no load holds it
    ],
)
def test_little_endian(bit_offset: int, bits: int, expected: list[int] | None) -> None:
    if expected is None:
        local, kernel = BtfWriter(), BtfWriter()
        type_id = local.struct("s", 8, ("f", local.integer("u32", 4, 0), 0))
        kernel.struct("s", 32, ("f", kernel.integer("u", 4, 0), bit_offset, bits))
        result = resolved(local, kernel, at(type_id, "0:0"))
        assert result.error
        assert result.error.errno == errno.E2BIG
    else:
        assert values("little", bit_offset, bits) == expected


@pytest.mark.parametrize(
    ("bit_offset", "bits", "expected"),
    [(0, 1, [0, 4, 32, 63]), (5, 3, [0, 4, 37, 61]), (33, 4, [4, 4, 33, 60]), (30, 4, [0, 8, 30, 60])],
)
def test_big_endian(bit_offset: int, bits: int, expected: list[int]) -> None:
    assert values("big", bit_offset, bits) == expected


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("number", [0, 1, 0b1011, 0x7FF])
def test_the_shifts_cut_the_field_out(order: str, number: int) -> None:
    """Do what a program does with the four numbers, on memory laid out by hand."""
    bit_offset, bits = 37, 11
    memory = bytearray(32)
    if order == "little":
        memory[:8] = (number << bit_offset).to_bytes(8, "little")
    else:
        memory[:8] = (number << (64 - bit_offset - bits)).to_bytes(8, "big")
    offset, size, left, right = values(order, bit_offset, bits)
    loaded = int.from_bytes(memory[offset : offset + size], "big" if order == "big" else "little")
    assert (loaded << left & (1 << 64) - 1) >> right == number


def test_only_sign_and_right_shift_are_checked_against_the_instruction() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    for writer in (local, kernel):
        type_id = writer.struct("s", 4, ("f", writer.integer("u32", 4, 0), 3, 5))
    for kind in (*KINDS, CoreReloKind.FIELD_SIGNED):
        result = resolved(local, kernel, at(type_id, "0:0", kind), mov(77))
        checked = kind in (CoreReloKind.FIELD_RSHIFT_U64, CoreReloKind.FIELD_SIGNED)
        assert result.validate == checked
        assert bool(result.error) == checked
