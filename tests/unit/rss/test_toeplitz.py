# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Steering
from holdfast.rss.toeplitz import ByteTable, nibble_rows, pack_rows
from holdfast.rss.vectors import KEY, VECTORS, Vector

keys = st.binary(min_size=40, max_size=60)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.source)
def test_published_vectors(vector: Vector) -> None:
    for data, expected in (
        (vector.addresses(), vector.addresses_hash),
        (vector.with_ports(), vector.ports_hash),
    ):
        assert reference.toeplitz(KEY, data) == expected
        assert ByteTable(KEY).hash(data) == expected


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.source)
def test_published_vectors_as_frames(vector: Vector) -> None:
    steering = Steering(RssConfig.spread(KEY, 4))
    for frame, kind, value in vector.frames():
        assert (kind, reference.toeplitz(KEY, reference.select(reference.dissect(frame), kind)[1])) == (
            kind,
            value,
        )
        got = steering.classify(frame)
        assert (got.type, got.hash, got.queue) == (kind, value, value % 128 % 4)


def test_long_inputs_of_ones() -> None:
    # Computed once, by hand of the definition: the XOR of all windows of the key.
    assert ByteTable(KEY).hash(b"\xff" * 12) == 0xE5A8B726
    assert ByteTable(KEY).hash(b"\xff" * 36) == 0xB15232E0


def test_key_of_repeated_words_is_symmetric() -> None:
    table = ByteTable(bytes.fromhex("6d5a") * 20)
    vector = VECTORS[0]
    back = Vector(vector.destination, vector.destination_port, vector.source, vector.source_port, 0, 0)
    assert table.hash(vector.with_ports()) == table.hash(back.with_ports()) == 0x9FCC9FCC


@given(keys, st.binary(max_size=36))
def test_table_equals_bit_by_bit(key: bytes, data: bytes) -> None:
    assert ByteTable(key).hash(data) == reference.toeplitz(key, data)


@given(keys, st.binary(max_size=36))
def test_nibble_rows_equal_bit_by_bit(key: bytes, data: bytes) -> None:
    rows = nibble_rows(key)
    value = 0
    for position, digit in enumerate(data.hex()):
        value ^= rows[position][int(digit, 16)]
    assert value == reference.toeplitz(key, data)


def test_packed_rows_are_the_rows() -> None:
    chance = random.Random(7)
    for key in (KEY, bytes(40), b"\xff" * 40, *(chance.randbytes(44) for _ in range(20))):
        rows = b"".join(struct.pack("=16I", *row) for row in nibble_rows(key))
        assert pack_rows(key) == rows
