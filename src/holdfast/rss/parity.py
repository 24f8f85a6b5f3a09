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

_ROWS: Final = 9  # row[w][0] to row[w][7], then wide[w]
_LANE: Final = 8 * KEY_BYTES  # bits of one row's share of the numbers below
_MASKS: Final = struct.Struct("=45Q24x")
_ONE_A_LANE: Final = struct.Struct(f"<{'Q32x' * _ROWS}")


def pack_masks(key: bytes) -> bytes:
    """Returns ``row`` and ``wide`` of ``struct rss_slot`` in host order; ``key`` holds at least 40 bytes.

    By numbers that hold all rows, one behind the other: some 50 steps, where bit by bit it were thousands.
    """
    copies, picks, words = _plan()
    every = int.from_bytes(key[:KEY_BYTES], "big") * copies
    total = 0
    for bit, mask in enumerate(picks):
        total |= every >> 1 + bit & mask
    # Each lane is in the input's own order now. Little-endian, its bytes begin with 4 that are 0.
    total = int.from_bytes(total.to_bytes(_ROWS * KEY_BYTES, "big"), "little")
    found = [
        _ONE_A_LANE.unpack((total >> start & mask).to_bytes(_ROWS * KEY_BYTES, "little"))
        for start, mask in words
    ]
    first, second, third, fourth, fifth = found
    wide = [values[8] for values in found]
    return _MASKS.pack(*first[:8], *second[:8], *third[:8], *fourth[:8], *fifth[:8], *wide)


@cache
def _plan() -> tuple[int, tuple[int, ...], tuple[tuple[int, int], ...]]:
    """What a key is multiplied by; by bit of the hash, the bits of the input that each row has of it; and
    where each word begins, with its bits, in all rows.

    Row m holds for bit j those bits of the input whose place in their words, moved by m, is j modulo 7; rows
    7 and 8 so for bits 7 and 8, modulo 2.
    """
    picks = [0] * _ROWS
    for row in range(_ROWS):
        first, count, m = (0, 7, row) if row < 7 else (7, 2, row - 7)
        masks = [0] * count
        for start, end in zip(WORD_BITS, (*WORD_BITS[1:], 8 * INPUT_BYTES), strict=True):
            for at in range(start, end):
                masks[(at - start + m) % count] |= 1 << at
        for bit, mask in enumerate(masks):
            own = int.from_bytes(mask.to_bytes(INPUT_BYTES, "little"), "big")
            picks[first + bit] |= own << _lane(row)
    copies = sum(1 << _lane(row) for row in range(_ROWS))
    words = []
    for start, end in zip(WORD_BITS, (*WORD_BITS[1:], 8 * INPUT_BYTES), strict=True):
        words.append((_LANE - 8 * INPUT_BYTES + start, ((1 << end - start) - 1) * copies))
    return copies, tuple(picks), tuple(words)


def _lane(row: int) -> int:
    return _LANE * (_ROWS - 1 - row)  # the first row has the highest bits, and so the first bytes
