# SPDX-License-Identifier: Apache-2.0
"""A blob's content: named parts, each compressed by itself, so that a reader unpacks what it needs.

``HFparts1``, the length of the directory (u32), the directory (JSON: kind, and for each part its name, its
size and its compressed size in bytes), then the parts as zstd frames. Sizes are little-endian. That a blob is
what was written is checked where it is read from disk (:mod:`holdfast.kernels.catalogue.blobs`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Final

__all__ = ["QUICK", "SMALL", "DamagedError", "Parts", "pack"]

_MAGIC: Final = b"HFparts1"
_HEAD: Final = struct.Struct("<8sI")
SMALL: Final = 19
QUICK: Final = 12
"""Levels of zstd: the first takes 4 s for a kernel that stands alone, the second 0.5 s and a tenth more
room.
"""

_MOST: Final = 64 << 20  # bytes of a part; the largest, a BTF that is stored as it is, has some 8 MB


class DamagedError(Exception):
    """What was read is not what was written; the text says how. Never leaves the catalogue."""


def pack(kind: str, parts: Mapping[str, bytes], level: int = QUICK) -> bytes:
    """The parts as one blob, compressed at this level of zstd. ``kind`` says what they mean."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=level)
    frames = {name: compressor.compress(data) if data else b"" for name, data in parts.items()}
    directory = [kind, [[name, len(data), len(frames[name])] for name, data in parts.items()]]
    text = json.dumps(directory, separators=(",", ":")).encode()
    return b"".join([_HEAD.pack(_MAGIC, len(text)), text, *frames.values()])


class Parts:
    """The parts of a blob of this kind; raises :exc:`DamagedError` for anything else."""

    def __init__(self, blob: bytes, kind: str) -> None:
        self._blob = blob
        self._places: dict[str, tuple[int, int, int]] = {}  # size, where its frame begins and ends
        try:
            magic, length = _HEAD.unpack_from(blob)
            at = _HEAD.size + length
            found, rows = json.loads(blob[_HEAD.size : at])
            for name, size, packed in rows:
                if not 0 <= size <= _MOST or packed < 0:
                    raise DamagedError(f"part {name} of {size} bytes")
                self._places[name] = size, at, at + packed
                at += packed
        except (ValueError, TypeError, struct.error, RecursionError) as error:
            raise DamagedError(f"no {kind}: {error}") from error
        if magic != _MAGIC or found != kind or at != len(blob):
            raise DamagedError(f"no {kind}")

    def __getitem__(self, name: str) -> bytes:
        """The part, unpacked. Raises :exc:`DamagedError` where there is none."""
        import zstandard

        try:
            size, start, end = self._places[name]
        except KeyError:
            raise DamagedError(f"no part {name}") from None
        if not size:
            return b""
        try:
            data = zstandard.ZstdDecompressor().decompress(self._blob[start:end], max_output_size=size)
        except zstandard.ZstdError as error:
            raise DamagedError(f"part {name}: {error}") from error
        if len(data) != size:
            raise DamagedError(f"part {name} has {len(data)} bytes instead of {size}")
        return data
