# SPDX-License-Identifier: Apache-2.0
"""Compressed formats that are a row of independent blocks: lz4's legacy frame and lzop's files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

__all__ = ["Damage", "lz4_legacy", "lzop"]

_LZ4_MAGIC: Final = 0x184C2102
_LZ4_BLOCK: Final = 8 << 20  # bytes of a decompressed block, lz4_Frame_format.md, "Legacy frame"
_LZ4_WORST: Final = _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16  # LZ4_compressBound
_LZO_BLOCK: Final = 256 << 10  # bytes; what lzop writes, and all that lib/decompress_unlzo.c takes
# lzop's header flags; sums are of decompressed and of compressed data.
_F_ADLER32_D: Final = 0x1
_F_ADLER32_C: Final = 0x2
_F_H_EXTRA_FIELD: Final = 0x40
_F_CRC32_D: Final = 0x100
_F_CRC32_C: Final = 0x200
_F_H_FILTER: Final = 0x800


class Damage(Exception):
    """Compressed data that make no sense; what is wrong with them."""


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _exactly(source: _Source, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise Damage(f"{size - len(data)} bytes are missing at their end")
    return data


def lz4_legacy(source: _Source) -> Iterator[bytes]:
    """The blocks of legacy frames (magic, then size and data of each block) up to the end of ``source``.

    There is no end mark and no checksum, so a frame cut off between two blocks cannot be told from a whole
    one: the caller compares the size. Raises :exc:`Damage`.
    """
    import lz4.block

    source.read(4)  # the magic number, by which it was found
    while head := source.read(4):
        if len(head) < 4:
            raise Damage("the size of a block is cut off")
        size = struct.unpack("<I", head)[0]
        if size == _LZ4_MAGIC:  # another frame
            continue
        if not 0 < size <= _LZ4_WORST:
            raise Damage(f"a block of {size} bytes")
        try:
            yield lz4.block.decompress(_exactly(source, size), uncompressed_size=_LZ4_BLOCK)
        except lz4.block.LZ4BlockError as error:
            raise Damage(str(error)) from error


def lzop(source: _Source) -> Iterator[bytes]:
    """The blocks of one file that lzop wrote, up to its end mark; their checksums are compared. Raises
    :exc:`Damage`.

    Layout: lib/decompress_unlzo.c, which says nothing of optional fields, and lzop's own manual for those.
    """
    import lzallright

    _exactly(source, 9)  # the magic number, by which it was found
    version, _, _, _ = struct.unpack(">HHHB", _exactly(source, 7))
    later = version >= 0x0940
    if later:
        _exactly(source, 1)  # level
    flags = struct.unpack(">I", _exactly(source, 4))[0]
    if flags & _F_H_FILTER:
        raise Damage("they went through a filter")
    _exactly(source, 12 if later else 8)  # mode and time
    _exactly(source, _exactly(source, 1)[0] + 4)  # name, checksum of the header
    if flags & _F_H_EXTRA_FIELD:
        raise Damage("there is an extra field in their header")
    while size := struct.unpack(">I", _exactly(source, 4))[0]:
        packed = struct.unpack(">I", _exactly(source, 4))[0]
        if size > _LZO_BLOCK or not 0 < packed <= size:
            raise Damage(f"a block of {packed} bytes for {size}")
        sums = [_exactly(source, 4) if flags & flag else b"" for flag in (_F_ADLER32_D, _F_CRC32_D)]
        if packed < size:
            for flag in (_F_ADLER32_C, _F_CRC32_C):
                _exactly(source, 4 if flags & flag else 0)
        data = _exactly(source, packed)
        if packed < size:
            try:
                data = lzallright.LZOCompressor.decompress(data, size)
            except (lzallright.LZOError, lzallright.InputNotConsumed) as error:
                raise Damage(str(error)) from error
        if len(data) != size:
            raise Damage(f"a block of {len(data)} bytes that was {size}")
        for wanted, sum_of in zip(sums, (zlib.adler32, zlib.crc32), strict=True):
            if wanted and sum_of(data) != struct.unpack(">I", wanted)[0]:
                raise Damage("the checksum of a block does not fit")
        yield data
