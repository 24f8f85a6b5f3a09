# SPDX-License-Identifier: Apache-2.0
"""Frames between host and guest: whole ones come through, garbage does not pass for one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.vm.frames import LARGEST, Decoder, FrameError, Kind, encode

FRAMES = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=300)), max_size=6)


@given(FRAMES, st.lists(st.integers(0, 2000), max_size=8))
def test_any_cuts_give_the_same_frames(frames: list[tuple[Kind, bytes]], cuts: list[int]) -> None:
    stream = b"".join(encode(*frame) for frame in frames)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = Decoder()
    found: list[tuple[Kind, bytes]] = []
    for start, end in pairwise(edges):
        decoder.add(stream[start:end])
        found += decoder.frames()
    assert found == frames
    assert not decoder.inside


@given(FRAMES.filter(bool), st.data())
def test_a_changed_byte_never_gives_another_frame(
    frames: list[tuple[Kind, bytes]], data: st.DataObject
) -> None:
    stream = bytearray(b"".join(encode(*frame) for frame in frames))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    decoder = Decoder()
    decoder.add(bytes(stream))
    found: list[tuple[Kind, bytes]] = []
    try:
        for frame in decoder.frames():
            found.append(frame)
    except FrameError:
        pass
    else:
        assert decoder.inside  # a length that grew: the stream ends inside of a frame
    assert found == frames[: len(found)]
    assert len(found) < len(frames)


def test_kernel_messages_are_no_frames() -> None:
    decoder = Decoder()
    decoder.add(b"[    0.000000] Linux version 6.12\r\n" + encode(Kind.DONE, b""))
    with pytest.raises(FrameError, match="no frame begins with"):
        next(decoder.frames())


def test_an_absurd_length_is_refused_at_once() -> None:
    frame = bytearray(encode(Kind.PART, b"x"))
    frame[8:12] = (LARGEST + 1).to_bytes(4, "little")
    decoder = Decoder()
    decoder.add(bytes(frame))
    with pytest.raises(FrameError, match="is larger than"):
        next(decoder.frames())
    with pytest.raises(FrameError, match="is larger than"):
        encode(Kind.PART, bytes(LARGEST + 1))


def test_a_kind_that_does_not_exist() -> None:
    frame = encode(99, b"")  # type: ignore[arg-type]
    decoder = Decoder()
    decoder.add(frame)
    with pytest.raises(FrameError, match="no frames of kind 99"):
        next(decoder.frames())
