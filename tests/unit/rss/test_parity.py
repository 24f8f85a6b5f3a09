# SPDX-License-Identifier: Apache-2.0
"""The masks of a key, used as the programs of net/rss use them, against the hash bit by bit."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.rss import reference
from holdfast.rss.parity import MASK_BYTES, WORD_BITS, pack_masks
from holdfast.rss.vectors import KEY

keys = st.binary(min_size=40, max_size=44)
ENDS = (*WORD_BITS[1:], 288)


def low_bits(masks: bytes, data: bytes, above: int = 0) -> int:
    """The nine lowest bits of a hash, as state.h says; ``above`` is what words have above their bits."""
    values = struct.unpack("=48Q", masks)
    whole = int.from_bytes(data.ljust(36, b"\0"), "little")
    words = []
    for start, end in zip(WORD_BITS, ENDS, strict=True):
        word = whole >> start & (1 << end - start) - 1
        words.append((word | above << end - start) & (1 << 64) - 1)
    seven = two = 0
    for w, word in enumerate(words):
        for m in range(7):
            seven ^= (word & values[8 * w + m]) << m
        two ^= (word & values[8 * w + 7]) ^ (word & values[40 + w]) << 1
    assert max(seven, two) < 1 << 64  # the programs have no more bits
    bits = [(seven >> at & 1) << at % 7 for at in range(64)]
    bits += [(two >> at & 1) << 7 + at % 2 for at in range(64)]
    value = 0
    for bit in bits:
        value ^= bit
    return value


@given(keys, st.binary(max_size=36), st.integers(0, 255))
def test_masks_equal_bit_by_bit(key: bytes, data: bytes, above: int) -> None:
    masks = pack_masks(key)
    assert len(masks) == MASK_BYTES
    assert low_bits(masks, data, above) == reference.toeplitz(key, data) & 511


@pytest.mark.parametrize("bit", range(288))
def test_each_bit_of_the_input_counts(bit: int) -> None:
    data = (1 << 287 - bit).to_bytes(36, "big")
    assert low_bits(pack_masks(KEY), data) == reference.toeplitz(KEY, data) & 511


def test_what_is_reserved_is_0() -> None:
    values = struct.unpack("=48Q", pack_masks(b"\xff" * 40))
    assert values[45:] == (0, 0, 0)
    for w, (start, end) in enumerate(zip(WORD_BITS, ENDS, strict=True)):
        for value in (*values[8 * w : 8 * w + 8], values[40 + w]):
            assert value == (1 << end - start) - 1
