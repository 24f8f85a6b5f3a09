# SPDX-License-Identifier: Apache-2.0
"""The Toeplitz hash by table look-up, and the table that the BPF programs use.

Each set bit of the input contributes the 32 bits of the key that begin at the same position. The
sum (XOR) for a whole byte, or half of one, depends only on its value and position, so it can be
kept in a table: one look-up instead of eight or four steps.
"""

from __future__ import annotations

import sys

__all__ = ["INPUT_BYTES", "KEY_BYTES", "ByteTable", "nibble_rows", "pack_rows"]

KEY_BYTES = 40
"""Bytes of a key that any input looks at: 36 bytes of input and the width of the hash."""

INPUT_BYTES = 36
"""The longest input: two IPv6 addresses and two ports."""


_WINDOW = 0xFFFFFFFF
_LANES = [
    sum(1 << 32 * (value if sys.byteorder == "little" else 15 - value) for value in range(16) if value & bit)
    for bit in (8, 4, 2, 1)
]
# By bit of half a byte: a number that, times a window, is the window in each of a row's 16 entries that has
# the bit. Four multiplications make a row, in a quarter of the time that 16 entries take one by one.


def _rows(key: bytes, bits: int) -> list[list[int]]:
    # row[r][v]: XOR of the key's windows at bit bits*r + b for each bit b, from the most significant, of v
    whole = int.from_bytes(key[:KEY_BYTES], "big")
    rows = []
    for first in range(0, INPUT_BYTES * 8, bits):
        row = [0]
        for bit in reversed(range(bits)):
            window = whole >> (KEY_BYTES * 8 - 32 - first - bit) & 0xFFFFFFFF
            row += [value ^ window for value in row]
        rows.append(row)
    return rows


def nibble_rows(key: bytes) -> list[list[int]]:
    """Returns the 72 rows of 16 numbers of ``struct rss_key``; ``key`` holds at least 40 bytes."""
    return _rows(key, 4)


def pack_rows(key: bytes) -> bytes:
    """Returns :func:`nibble_rows` as the 4608 bytes that the BPF programs read, in host order."""
    whole = int.from_bytes(key[:KEY_BYTES], "big")
    first, second, third, fourth = _LANES
    rows = []
    for last in range(8 * INPUT_BYTES - 4 + 1, 0, -4):
        bits = whole >> last
        row = (bits >> 3 & _WINDOW) * first ^ (bits >> 2 & _WINDOW) * second
        row ^= (bits >> 1 & _WINDOW) * third ^ (bits & _WINDOW) * fourth
        rows.append(row.to_bytes(64, sys.byteorder))
    return b"".join(rows)


class ByteTable:
    """A key made ready for hashing in Python: 36 rows of 256 numbers."""

    __slots__ = ("_rows",)

    def __init__(self, key: bytes) -> None:
        self._rows = _rows(key, 8)

    def hash(self, data: bytes | memoryview) -> int:
        """Returns the hash (32 bits) of at most 36 bytes in network order."""
        value = 0
        for row, byte in zip(self._rows, data, strict=False):
            value ^= row[byte]
        return value
