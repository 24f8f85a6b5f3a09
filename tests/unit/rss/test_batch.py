# SPDX-License-Identifier: Apache-2.0
"""Batches give what the same frames and tuples give one by one."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from tests import rssframes

from holdfast.errors import UsageError
from holdfast.rss import ALL_TUNNELS, HashType, TunnelType, reference
from holdfast.rss.batch import HEADER_BYTES, Batch
from holdfast.rss.terms import ALL_TYPES
from holdfast.rss.vectors import KEY, VECTORS


def test_published_vectors() -> None:
    batch = Batch(KEY)
    for vector in VECTORS:
        for data, value in (
            (vector.addresses(), vector.addresses_hash),
            (vector.with_ports(), vector.ports_hash),
        ):
            assert batch.hashes(np.frombuffer(data, np.uint8)[None, :]).tolist() == [value]


@pytest.mark.parametrize("size", [0, 1, 8, 12, 13, 32, 36])
def test_tuples_of_every_size_over_more_than_one_chunk(size: int) -> None:
    chance = random.Random(size)
    rows = [chance.randbytes(size) for _ in range(4099)]
    got = Batch(KEY).hashes(np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), size))
    for number in (0, 1, 4095, 4096, 4098):
        assert got[number] == reference.toeplitz(KEY, rows[number])


@pytest.mark.parametrize("tunnels", [TunnelType.NONE, ALL_TUNNELS])
@pytest.mark.parametrize("types", [ALL_TYPES, HashType.IPv4 | HashType.TCPv6 | HashType.UDP_EX])
def test_frames_equal_the_reference(types: HashType, tunnels: TunnelType) -> None:
    pick = rssframes.Seeded(51)
    frames = [frame for vector in VECTORS for frame, _, _ in vector.frames()]
    frames += [rssframes.frame(pick) for _ in range(1500)]
    # Cut anywhere in what is read at once.
    frames += [frame[:size] for frame in frames[:6] + frames[15:21] for size in range(60)]
    batch = Batch(KEY, types, tunnels)
    headers = batch.headers(frames)
    assert len(headers) == HEADER_BYTES * len(frames)
    sizes = np.array([len(frame) for frame in frames])
    slots = b"".join(frame.ljust(max(sizes), b"\xff") for frame in frames)
    assert batch.headers_of_rows(np.frombuffer(slots, np.uint8).reshape(len(frames), -1), sizes) == headers
    for number, frame in enumerate(frames):
        kind, data = reference.select(reference.dissect(frame, tunnels), types)
        wanted = (reference.toeplitz(KEY, data), kind.report) if kind else (0, 0)
        header = headers[HEADER_BYTES * number :][:HEADER_BYTES]
        assert header == bytes(12) + struct.pack("<IHH", *wanted, 0), (number, frame.hex())


def test_no_frames() -> None:
    assert Batch(KEY).headers([]) == b""


def test_short_keys_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(UsageError):
        Batch(KEY[:39])
    with pytest.raises(UsageError):
        Batch(KEY).hashes(np.zeros((2, 37), np.uint8))
    with pytest.raises(UsageError):
        Batch(KEY).classify_rows(np.zeros((2, 57), np.uint8), np.array([57, 57]))


def test_zeros_at_the_end_are_not_taken_for_filling() -> None:
    """A frame that ends with zeros, and one that is shorter by them, are told apart."""
    frames = [
        frame[: 34 + 20 * six] + bytes(4 + extra)
        for vector in VECTORS
        for frame, _, _ in vector.frames()[:1]
        for six in (frame[12:14] == b"\x86\xdd",)
        for extra in (-4, -3, -1, 0, 1, 20)
    ]
    batch = Batch(KEY)
    headers = batch.headers(frames)
    for number, frame in enumerate(frames):
        kind, data = reference.select(reference.dissect(frame), ALL_TYPES)
        wanted = reference.toeplitz(KEY, data), kind.report
        assert struct.unpack_from("<IH", headers, HEADER_BYTES * number + 12) == wanted, frame.hex()


def test_every_row_of_a_batch_larger_than_a_chunk() -> None:
    pick = rssframes.Seeded(52)
    frames = [rssframes.frame(pick) for _ in range(300)] * 15
    values, reports = Batch(KEY).classify(frames)
    assert len(values) == 4500
    assert values.reshape(15, 300).tolist() == [values[:300].tolist()] * 15
    assert reports.reshape(15, 300).tolist() == [reports[:300].tolist()] * 15
