# SPDX-License-Identifier: Apache-2.0
"""Capture files: both formats, both byte orders, what Scapy writes, and what no file may do."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import FileError
from holdfast.rss.pcap import CapturedFrame, read_frames
from holdfast.rss.vectors import VECTORS

FRAMES = [frame for vector in VECTORS for frame, _, _ in vector.frames()]
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def pcap(
    order: str, frames: list[bytes], magic: int = 0xA1B2C3D4, snaplen: int = 65535, link: int = 1
) -> bytes:
    out = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for data in frames:
        kept = data[:snaplen]
        out += struct.pack(f"{order}IIII", 1, 2, len(kept), len(data)) + kept
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str, link: int = 1, snaplen: int = 0) -> bytes:
    head = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    return head + block(order, 1, struct.pack(f"{order}HHI", link, 0, snaplen))


def enhanced(order: str, data: bytes, length: int | None = None, interface: int = 0) -> bytes:
    length = len(data) if length is None else length
    options = struct.pack(f"{order}HHHH", 1, 4, 0, 0)[:4] + b"note"
    padded = data + bytes(-len(data) % 4)
    return block(order, 6, struct.pack(f"{order}5I", interface, 0, 0, len(data), length) + padded + options)


def read(tmp_path: Path, content: bytes) -> list[CapturedFrame]:
    path = tmp_path / "some.cap"
    path.write_bytes(content)
    return list(read_frames(path))


@ORDERS
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_pcap(tmp_path: Path, order: str, magic: int) -> None:
    got = read(tmp_path, pcap(order, FRAMES, magic))
    assert [one.data for one in got] == FRAMES
    assert [one.number for one in got] == list(range(1, len(FRAMES) + 1))
    assert not any(one.truncated for one in got)


@ORDERS
def test_what_a_snap_length_cut_off_is_told(tmp_path: Path, order: str) -> None:
    got = read(tmp_path, pcap(order, FRAMES, snaplen=40))
    assert [(one.data, one.length, one.truncated) for one in got] == [
        (data[:40], len(data), len(data) > 40) for data in FRAMES
    ]
    assert any(one.truncated for one in got)


@ORDERS
def test_pcapng(tmp_path: Path, order: str) -> None:
    # Blocks of a kind that nobody knows are passed over, and so is name resolution.
    content = section(order) + block(order, 4, bytes(8)) + block(order, 0xBAD, b"whatever")
    content += b"".join(enhanced(order, data) for data in FRAMES)
    assert [one.data for one in read(tmp_path, content)] == FRAMES


def test_sections_of_either_byte_order_in_one_file(tmp_path: Path) -> None:
    content = section("<") + enhanced("<", FRAMES[0]) + section(">") + enhanced(">", FRAMES[1])
    assert [one.data for one in read(tmp_path, content)] == FRAMES[:2]


@ORDERS
def test_older_packet_blocks(tmp_path: Path, order: str) -> None:
    data, length = FRAMES[0], len(FRAMES[0])
    simple = block(order, 3, struct.pack(f"{order}I", length) + data[:21])
    obsolete = block(order, 2, struct.pack(f"{order}HHIIII", 0, 9, 0, 0, length, length) + data)
    got = read(tmp_path, section(order, snaplen=21) + simple + obsolete)
    assert [(one.data, one.length) for one in got] == [(data[:21], length), (data, length)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cut off"),
        (b"\x7fELF" + bytes(60), "no pcap or pcapng"),
        (pcap("<", FRAMES)[:-1], "cut off in a frame"),
        (pcap("<", FRAMES[:1]) + bytes(7), "header of a record"),
        (pcap("<", [], link=113), "link type 113"),
        (pcap("<", [])[:4] + b"\7\0" + pcap("<", [])[6:], "version 7"),
        (pcap("<", []) + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31), "frame of 2147483648 bytes"),
        (section("<", link=101) + enhanced("<", FRAMES[0]), "link type 101"),
        (section("<") + enhanced("<", FRAMES[0], interface=1), "interface 1"),
        (section("<") + enhanced("<", FRAMES[0])[:-2], "end of a block"),
        (section("<") + struct.pack("<II", 6, 0xFFFFFFF0), "block of 4294967280 bytes"),
        (section("<") + struct.pack("<III", 5, 12, 16), "ends as one of 16"),
        (section("<") + block("<", 6, bytes(8)), "too short"),
        (section("<") + block("<", 6, struct.pack("<5I", 0, 0, 0, 99, 99)), "too short"),
        (section("<") + block("<", 1, b""), "too short"),
        (section("<") + b"\6\0", "type of a block"),
        (block("<", 0x0A0D0D0A, bytes(16)), "no byte order"),
    ],
)
def test_a_broken_file_is_one_error_with_its_place(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(FileError, match=problem) as caught:
        read(tmp_path, content)
    assert caught.value.place is not None


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        list(read_frames(tmp_path / "absent"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_are_frames_or_an_error(tmp_path: Path, data: st.DataObject) -> None:
    order = data.draw(st.sampled_from("<>"))
    good = data.draw(
        st.sampled_from([pcap(order, FRAMES[:3]), section(order) + enhanced(order, FRAMES[0]) * 2])
    )
    at = data.draw(st.integers(0, len(good) - 1))
    content = good[:at] + data.draw(st.binary(max_size=8)) + good[at + data.draw(st.integers(0, 8)) :]
    try:
        got = read(tmp_path, content)
    except FileError:
        return
    assert sum(len(one.data) for one in got) <= len(content)
