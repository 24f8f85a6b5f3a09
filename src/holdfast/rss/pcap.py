# SPDX-License-Identifier: Apache-2.0
"""Frames out of capture files: pcap and pcapng, of either byte order, micro- or nanoseconds.

Sources: draft-ietf-opsawg-pcap-06 (pcap), draft-ietf-opsawg-pcapng-03 (pcapng). Only Ethernet is taken
(link type 1). A file is read block by block, and what it says of a length is not believed before it is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from holdfast.errors import FileError

__all__ = ["MOST_BYTES", "CapturedFrame", "read_frames"]

MOST_BYTES: Final = 1 << 24
"""Largest record that is taken: many times the largest frame, so what is larger is no capture."""

_ETHERNET: Final = 1
_MAGICS: Final = {
    b"\xa1\xb2\xc3\xd4": ">", b"\xd4\xc3\xb2\xa1": "<",  # microseconds
    b"\xa1\xb2\x3c\x4d": ">", b"\x4d\x3c\xb2\xa1": "<",  # nanoseconds
}  # fmt: skip
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_HINT: Final = "capture with tcpdump -w, or convert with editcap -F pcap"


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame, as far as it was captured; ``length`` is what it had on the wire, in bytes.

    ``number`` counts from 1, as Wireshark does.
    """

    number: int
    data: bytes
    length: int

    @property
    def truncated(self) -> bool:
        """Returns whether the capture has less of it than there was."""
        return len(self.data) < self.length


def read_frames(path: Path) -> Iterator[CapturedFrame]:
    """Yields the frames of a capture file, in order.

    Raises :class:`~holdfast.errors.FileError` that names the offset, for what is no capture file, is cut off,
    or has frames of another link layer than Ethernet.
    """
    try:
        with path.open("rb") as file:
            yield from _Reader(str(path), file).frames()
    except OSError as error:
        raise FileError(str(path), error.strerror or str(error)) from None


class _Reader:
    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._at = 0
        self._order = "<"
        self._number = 0

    def frames(self) -> Iterator[CapturedFrame]:
        magic = self._take(4, "its first four bytes")
        if magic in _MAGICS:
            self._order = _MAGICS[magic]
            return self._pcap()
        if magic == b"\x0a\x0d\x0d\x0a":
            return self._pcapng()
        raise self._error("is no pcap or pcapng file", 0)

    def _pcap(self) -> Iterator[CapturedFrame]:
        major, minor, _, _, _, link = self._unpack("HHiIII", self._take(20, "the header"))
        if major != 2:
            raise self._error(f"pcap of version {major}.{minor}, not 2", 4)
        # The upper bits tell of a frame check sequence behind each frame.
        self._ethernet(link & 0xFFFF, 20)
        while head := self._file.read(16):
            if len(head) < 16:
                raise self._error("is cut off in the header of a record", self._at)
            start, self._at = self._at, self._at + 16
            _, _, captured, length = self._unpack("IIII", head)
            yield self._frame(captured, length, start)

    def _frame(self, captured: int, length: int, start: int) -> CapturedFrame:
        if captured > MOST_BYTES:
            raise self._error(f"has a frame of {captured} bytes", start)
        return self._numbered(self._take(captured, "a frame"), length)

    def _numbered(self, data: bytes, length: int) -> CapturedFrame:
        self._number += 1
        return CapturedFrame(self._number, data, max(length, len(data)))

    def _pcapng(self) -> Iterator[CapturedFrame]:
        interfaces: list[tuple[int, int]] = []  # link type, most bytes of a frame (0: all)
        kind, start = _SECTION, 0
        while True:
            if kind == _SECTION:
                body = self._section(start)
                interfaces = []
            else:
                (length,) = self._unpack("I", self._take(4, "the length of a block"))
                body = self._block(length, 8, start)
                if kind == _INTERFACE:
                    self._least(body, 8, start)
                    link, _, most = self._unpack("HHI", body[:8])
                    interfaces.append((link, most))
                elif kind in (_ENHANCED, _OLD_PACKET, _SIMPLE):
                    yield self._packet(kind, body, interfaces, start)
            start = self._at
            head = self._file.read(4)
            if not head:
                return
            if len(head) < 4:
                raise self._error("is cut off in the type of a block", start)
            self._at += 4
            (kind,) = self._unpack("I", head)

    def _section(self, start: int) -> bytes:
        raw, magic = self._take(4, "the length of a section"), self._take(4, "a section's byte order")
        orders = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
        if magic not in orders:
            raise self._error("has a section of no byte order", start)
        self._order = orders[magic]
        (length,) = self._unpack("I", raw)
        body = self._block(length, 12, start)
        self._least(body, 12, start)
        major, minor = self._unpack("HH", body[:4])
        if major != 1:
            raise self._error(f"pcapng of version {major}.{minor}, not 1", start)
        return body

    def _block(self, length: int, read: int, start: int) -> bytes:
        """Return what is between the part of a block that was read and its length at the end."""
        if length < read + 4 or length % 4 or length > MOST_BYTES:
            raise self._error(f"has a block of {length} bytes", start)
        body = self._take(length - read - 4, "a block")
        (again,) = self._unpack("I", self._take(4, "the end of a block"))
        if again != length:
            raise self._error(f"has a block of {length} bytes that ends as one of {again}", start)
        return body

    def _packet(self, kind: int, body: bytes, interfaces: list[tuple[int, int]], start: int) -> CapturedFrame:
        if kind == _SIMPLE:
            self._least(body, 4, start)
            (length,) = self._unpack("I", body[:4])
            interface, offset = 0, 4
        else:
            self._least(body, 20, start)
            interface, _, _, captured, length = self._unpack("IIIII", body[:20])
            if kind == _OLD_PACKET:
                interface = self._unpack("HH", body[:4])[0]
            offset = 20
        if interface >= len(interfaces):
            raise self._error(f"has a frame of interface {interface}, which it does not describe", start)
        link, most = interfaces[interface]
        self._ethernet(link, start)
        if kind == _SIMPLE:
            captured = min(length, most or length)
        self._least(body, offset + captured, start)
        return self._numbered(body[offset : offset + captured], length)

    def _ethernet(self, link: int, offset: int) -> None:
        if link != _ETHERNET:
            raise self._error(f"has frames of link type {link}, not Ethernet (1)", offset)

    def _least(self, body: bytes, size: int, start: int) -> None:
        if len(body) < size:
            raise self._error(f"has a block too short for the {size} bytes that it must hold", start)

    def _unpack(self, layout: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(self._order + layout, data)

    def _take(self, size: int, what: str) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise self._error(f"is cut off in {what}", self._at)
        self._at += size
        return data

    def _error(self, problem: str, offset: int) -> FileError:
        return FileError(self._path, problem, place=f"offset 0x{offset:x}", hint=_HINT)
