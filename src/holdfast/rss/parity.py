# SPDX-License-Identifier: Apache-2.0
"""A key as the masks by which the BPF programs of net/rss make a Toeplitz hash.

Each bit of the hash is the parity of those bits of the input that the key picks. What the masks are is told
in bundles/net/rss/state.h, and in docs/rss-c.md for those who make them in another language.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

from holdfast.rss.toeplitz import INPUT_BYTES, KEY_BYTES

__all__ = ["MASK_BYTES", "WORD_BITS", "pack_masks"]

WORD_BITS: Final = (0, 56, 114, 172, 230)
"""Where each word begins in the input, read as a little-endian number. A word ends where the next begins."""

MASK_BYTES: Final = 384
"""Bytes of the masks: 5 words by 8 numbers of 64 bits, then 8 more numbers."""

_SEVEN: Final = 7  # bits of the hash that come out of row[w][0] to row[w][6]; two more are for long tables
_LANES: Final = struct.Struct("<45Q")
_MASKS: Final = struct.Struct("=45Q24x")
_56: Final = (1 << 56) - 1
_58: Final = (1 << 58) - 1


def pack_masks(key: bytes) -> bytes:
    """Returns ``row`` and ``wide`` of ``struct rss_slot`` in host order; ``key`` holds at least 40 bytes.

    All words of a row at once, as one number: 30 us, a fifth of what bit by bit or word by word would take.
    """
    whole = int.from_bytes(key[:KEY_BYTES], "big")
    # By bit of the hash: bit 287 - i says whether bit i of the input changes it.
    k0, k1, k2, k3, k4, k5, k6, k7, k8 = [whole >> 1 + bit for bit in range(_SEVEN + 2)]
    seven, two = _beside(_SEVEN), _beside(2)
    rows = [k0 & a | k1 & b | k2 & c | k3 & d | k4 & e | k5 & f | k6 & g for a, b, c, d, e, f, g in seven]
    rows += [k7 & a | k8 & b for a, b in two]
    lanes = []
    for row in rows:
        data = row.to_bytes(INPUT_BYTES, "big")
        # 8 bytes that a word lies in, each.
        lanes += [data[:8], data[7:15], data[14:22], data[21:29], data[28:]]
    values = _LANES.unpack(b"".join(lanes))
    first = [value & _56 for value in values[0::5]]
    second = [value & _58 for value in values[1::5]]
    third = [value >> 2 & _58 for value in values[2::5]]
    fourth = [value >> 4 & _58 for value in values[3::5]]
    fifth = [value >> 6 for value in values[4::5]]
    wide = [word.pop() for word in (first, second, third, fourth, fifth)]
    return _MASKS.pack(*first, *second, *third, *fourth, *fifth, *wide)


@cache
def _beside(count: int) -> tuple[tuple[int, ...], ...]:
    """By m, by bit of the hash: the bits of the input whose places in their words, moved by m, are it modulo
    ``count``. As numbers whose bit 287 - i is bit i of the input.
    """
    found = []
    for m in range(count):
        masks = [0] * count
        for start, end in zip(WORD_BITS, (*WORD_BITS[1:], 8 * INPUT_BYTES), strict=True):
            for at in range(start, end):
                masks[(at - start + m) % count] |= 1 << at
        found.append(tuple(int.from_bytes(one.to_bytes(INPUT_BYTES, "little"), "big") for one in masks))
    return tuple(found)
