# SPDX-License-Identifier: Apache-2.0
"""Addresses of kallsyms, in the three forms that kernels have them."""

from __future__ import annotations

import struct

import pytest

from holdfast.kernels.registered.kallsyms_addresses import addresses

BASE = 0xFFFFFFFF81000000
AT = 0xFFFFFFFF82000000
SYMBOLS = [BASE + place for place in (0, 0, 0x10, 0x240, 0x1000, 0x40000, 0x2000000)]
TOKENS = b"".join(
    (bytes([number]) if ord("0") <= number <= ord("9") else b"ab") + b"\0" for number in range(256)
)


def _index(align: int = 8) -> bytes:
    """kallsyms_token_table and kallsyms_token_index."""
    offsets = [0]
    for token in TOKENS.split(b"\0")[:255]:
        offsets.append(offsets[-1] + len(token) + 1)
    return _aligned(TOKENS, align) + struct.pack("<256H", *offsets)


def _aligned(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def _offsets(values: list[int]) -> bytes:
    return b"".join((value & 0xFFFFFFFF).to_bytes(4, "little") for value in values)


def _relative_to_base(symbols: list[int]) -> bytes:
    table = _offsets([symbol - BASE for symbol in symbols])
    return _aligned(table, 8) + struct.pack("<Q", BASE)


def test_offsets_behind_the_index() -> None:
    rodata = b"filler.." + _index() + _relative_to_base(SYMBOLS) + b"\x55" * 64
    assert addresses(rodata, AT, len(SYMBOLS)) == SYMBOLS


def test_offsets_before_the_names() -> None:
    names = struct.pack("<Q", len(SYMBOLS)) + b"\x03names and markers...."
    rodata = b"filler.." + _relative_to_base(SYMBOLS) + _aligned(names, 8) + _index() + b"\x55" * 64
    assert addresses(rodata, AT, len(SYMBOLS)) == SYMBOLS


def test_per_cpu_symbols_are_absolute() -> None:
    per_cpu = [0, 0x100, 0x2000]
    table = _offsets(per_cpu + [BASE - 1 - symbol for symbol in SYMBOLS])
    rodata = b"filler.." + _index() + _aligned(table, 8) + struct.pack("<Q", BASE) + b"\x55" * 64
    assert addresses(rodata, AT, len(per_cpu) + len(SYMBOLS)) == per_cpu + SYMBOLS


def test_distances_from_their_own_places() -> None:
    before = b"four" + _index(4)
    place = AT + len(before)
    table = _offsets([symbol - place - 4 * at for at, symbol in enumerate(SYMBOLS)])
    assert addresses(before + table + b"\x55" * 64, AT, len(SYMBOLS)) == SYMBOLS


@pytest.mark.parametrize("damage", [slice(0, 400), slice(500, 1500), slice(-90, -70)])
def test_what_does_not_come_out_in_order_is_not_believed(damage: slice) -> None:
    rodata = bytearray(b"filler.." + _index() + _relative_to_base(SYMBOLS) + b"\x55" * 64)
    rodata[damage] = b"\xa5" * len(rodata[damage])
    assert addresses(bytes(rodata), AT, len(SYMBOLS)) is None


def test_no_tables() -> None:
    assert addresses(b"", AT, 5) is None
    assert addresses(bytes(4096), AT, 5) is None
    assert addresses(_index(), AT, 5) is None
