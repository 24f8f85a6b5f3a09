# SPDX-License-Identifier: Apache-2.0
"""The Toeplitz hash by table look-up, and the table that the BPF programs use.

Each set bit of the input contributes the 32 bits of the key that begin at the same position. The
sum (XOR) for a whole byte, or half of one, depends only on its value and position, so it can be
kept in a table: one look-up instead of eight or four steps.
"""

from __future__ import annotations

import struct

__all__ = ["INPUT_BYTES", "KEY_BYTES", "ByteTable", "nibble_rows", "pack_rows"]

KEY_BYTES = 40
"""Bytes of a key that any input looks at: 36 bytes of input and the width of the hash."""

INPUT_BYTES = 36
"""The longest input: two IPv6 addresses and two ports."""


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
    return b"".join(struct.pack("=16I", *row) for row in nibble_rows(key))


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
