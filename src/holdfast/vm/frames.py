# SPDX-License-Identifier: Apache-2.0
"""How host and guest talk over a byte stream: frames with a length and a checksum.

The guest imports this too, so it costs little: struct and zlib.

===== ======= ====================================================
bytes type    what
===== ======= ====================================================
0–3   bytes   ``HFvm``
4–7   u32 LE  kind (:class:`Kind`)
8–11  u32 LE  length of the payload in bytes
12–15 u32 LE  crc32 of bytes 4–11 and the payload
===== ======= ====================================================
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum

__all__ = ["LARGEST", "Decoder", "FrameError", "Kind", "encode"]

LARGEST = 64 << 20  # bytes of one payload
_MAGIC = b"HFvm"
_HEADER = struct.Struct("<4sIII")
_COUNTED = struct.Struct("<II")


class Kind(IntEnum):
    """What a frame carries; the payload is a value of :mod:`holdfast.vm.values`."""

    HELLO = 1  # guest: it is up; {release, version, machine, modules, seconds}
    JOB = 2  # host: {name, call, arguments, timeout}
    PART = 3  # guest: a value that the job yielded
    DONE = 4  # guest: {value, seconds, said}
    FAILED = 5  # guest: {problem, stuck, seconds, said}; the job raised, crashed or gave no news


class FrameError(ValueError):
    """The stream is not, or is no longer, one of frames."""


def encode(kind: Kind, payload: bytes) -> bytes:
    """Return a frame."""
    if len(payload) > LARGEST:
        raise FrameError(f"a payload of {len(payload)} bytes is larger than {LARGEST}")
    counted = _COUNTED.pack(kind, len(payload))
    return _HEADER.pack(_MAGIC, kind, len(payload), zlib.crc32(payload, zlib.crc32(counted))) + payload


class Decoder:
    """Takes bytes as they come and gives whole frames. After an error it is of no more use."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def inside(self) -> bool:
        """Return whether the stream stands inside a frame."""
        return bool(self._pending)

    def add(self, data: bytes) -> None:
        """Take more of the stream."""
        self._pending += data

    def frames(self) -> Iterator[tuple[Kind, bytes]]:
        """Yield the frames that are whole now; one that was yielded is not kept. Raises
        :class:`FrameError`.
        """
        while len(self._pending) >= _HEADER.size:
            magic, kind, length, check = _HEADER.unpack_from(self._pending)
            if magic != _MAGIC:
                raise FrameError(f"no frame begins with {bytes(magic)!r}")
            if length > LARGEST:
                raise FrameError(f"a frame of {length} bytes is larger than {LARGEST}")
            end = _HEADER.size + length
            if len(self._pending) < end:
                return
            payload = bytes(self._pending[_HEADER.size : end])
            if zlib.crc32(payload, zlib.crc32(_COUNTED.pack(kind, length))) != check:
                raise FrameError("the checksum of a frame does not fit")
            del self._pending[:end]
            try:
                known = Kind(kind)
            except ValueError:
                raise FrameError(f"there are no frames of kind {kind}") from None
            yield known, payload
