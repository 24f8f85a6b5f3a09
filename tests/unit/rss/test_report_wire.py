# SPDX-License-Identifier: Apache-2.0
"""Prefixes and headers as bytes: what is taken for a prefix, what is not, and what the reader is given."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.rss.report_wire import (
    HEADER_BYTES,
    PREFIX_BYTES,
    PrefixFlag,
    hash_header,
    reported_by_kernel,
    template,
    without_prefix,
)

COOKIE = 0x12345678
FRAME = bytes(range(64))
TAG = b"\x81\x00\x20\x07"


def prefix(
    length: int, *, value: int = 0xAABBCCDD, report: int = 2, flags: int = 0, cookie: int = COOKIE
) -> bytes:
    return struct.pack("<IBBHI", value, report, flags, length, cookie)


def test_a_prefix_is_taken_off() -> None:
    assert without_prefix(prefix(64) + FRAME, COOKIE) == (0xAABBCCDD, 2, FRAME)


def test_the_template_is_a_prefix_of_nothing() -> None:
    assert len(template(COOKIE)) == 16
    assert without_prefix(template(COOKIE)[:PREFIX_BYTES], COOKIE) == (0, 0, b"")


@pytest.mark.parametrize(
    "begin",
    [
        prefix(64, cookie=COOKIE + 1),
        prefix(63),
        prefix(65),
        prefix(0xFFFF),
        prefix(64, report=10),
        prefix(64, flags=4),
        prefix(64, flags=PrefixFlag.VLAN),
        prefix(63, flags=PrefixFlag.GSO),
    ],
    ids=["cookie", "shorter", "longer", "far longer", "report", "flag", "no room for a tag", "GSO, longer"],
)
def test_what_is_no_prefix_stays(begin: bytes) -> None:
    assert without_prefix(begin + FRAME, COOKIE) is None


@pytest.mark.parametrize("size", range(PREFIX_BYTES))
def test_what_is_too_short_has_no_prefix(size: int) -> None:
    assert without_prefix(prefix(0)[:size], COOKIE) is None


def test_a_segment_is_shorter_than_its_prefix_says() -> None:
    assert without_prefix(prefix(8054, flags=PrefixFlag.GSO) + FRAME, COOKIE) == (0xAABBCCDD, 2, FRAME)


@pytest.mark.parametrize("size", [0xFFFF, 0x10010])
def test_a_packet_longer_than_a_length_can_say(size: int) -> None:
    found = without_prefix(prefix(0xFFFF, flags=PrefixFlag.GSO) + bytes(size), COOKIE)
    assert found is not None and len(found[2]) == size


def test_a_tag_goes_where_it_belongs() -> None:
    got = without_prefix(prefix(64, flags=PrefixFlag.VLAN) + TAG + FRAME, COOKIE)
    assert got == (0xAABBCCDD, 2, FRAME[:12] + TAG + FRAME[12:])


def test_a_tag_counts_not_as_length() -> None:
    assert without_prefix(prefix(68, flags=PrefixFlag.VLAN) + TAG + FRAME, COOKIE) is None


def test_the_header_of_a_tap_without_headers() -> None:
    header = hash_header(b"", 0xAABBCCDD, 5)
    assert len(header) == HEADER_BYTES
    assert header == bytes(10) + b"\x01\x00" + b"\xdd\xcc\xbb\xaa" + b"\x05\x00" + b"\x00\x00"
    assert reported_by_kernel(header) == (0xAABBCCDD, 5)


@pytest.mark.parametrize("little", [True, False])
def test_what_counts_from_the_prefix_is_put_right(little: bool) -> None:
    order = "<" if little else ">"
    given = struct.pack(f"{order}BBHHHHH", 1, 1, 66, 1448, 46, 16, 1)
    header = hash_header(given, 7, 2, shift=PREFIX_BYTES, little=little)
    assert struct.unpack("<BBHHHHHIHH", header) == (1, 1, 54, 1448, 34, 16, 1, 7, 2, 0)


def test_what_counts_from_the_frame_stays() -> None:
    given = struct.pack("<BBHHHH", 1, 1, 54, 1448, 34, 16)
    assert hash_header(given, 7, 2)[:10] == given


def test_no_checksum_no_place_for_it() -> None:
    # Without NEEDS_CSUM the field means nothing, and is left alone.
    given = struct.pack("<BBHHHH", 2, 0, 0, 0, 5, 0)
    assert struct.unpack_from("<BBHHHH", hash_header(given, 0, 0, shift=PREFIX_BYTES)) == (2, 0, 0, 0, 5, 0)


@given(st.binary(max_size=200), st.integers(0, 0xFFFFFFFF))
def test_any_bytes_are_read(data: bytes, cookie: int) -> None:
    found = without_prefix(data, cookie)
    assert found is None or (len(found[2]) <= len(data) - PREFIX_BYTES and found[1] <= 9)


@given(
    st.binary(min_size=14, max_size=300),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 9),
    st.one_of(st.none(), st.binary(min_size=4, max_size=4)),
)
def test_what_is_put_before_comes_off_again(frame: bytes, value: int, report: int, tag: bytes | None) -> None:
    flags = PrefixFlag.VLAN if tag else 0
    data = prefix(len(frame), value=value, report=report, flags=flags) + (tag or b"") + frame
    assert without_prefix(data, COOKIE) == (value, report, frame[:12] + (tag or b"") + frame[12:])
