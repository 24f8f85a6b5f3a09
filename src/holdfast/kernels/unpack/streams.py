# SPDX-License-Identifier: Apache-2.0
"""Bytes that are read once, from front to back, and the decompressors over them.

Everything here is bounded: a decompressor gives back a few MiB at a time whatever its input holds, and
:class:`Inflated` counts them against a limit.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack import limits
from holdfast.kernels.unpack.blocks import Damage, lz4_legacy, lzop

__all__ = [
    "FileStream",
    "Inflated",
    "Slice",
    "Stream",
    "compression",
    "drain",
    "inflate",
    "plain",
    "read_exactly",
]

_CHUNK: Final = 1 << 18  # bytes that are asked of a source at once
_PIECE: Final = 1 << 20  # bytes that a decompressor gives back at once
# python-zstandard gives all that a piece of input holds, and a block of zstd can repeat one byte 128 KiB long
# in 4 bytes of input (RFC 8878, 3.1.1.2): 64 MiB at the most for this much.
_ZSTD_CHUNK: Final = 1 << 11

# What a file begins with. lzma alone has no magic number; what the kernel and dpkg write begins so:
# properties lc=3 lp=0 pb=2, then a dictionary size with its two low bytes zero.
_MAGIC: Final = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4 (legacy frame)"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x89LZO\0\r\n\x1a\n", "lzo"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
)


# What the libraries raise for bad data: lzma and zlib their own, bz2 OSError and ValueError, lz4.frame
# RuntimeError.
_DAMAGE: Final = (Damage, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, RuntimeError)


class Stream(Protocol):
    """Bytes from front to back."""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only where the stream ends."""


class FileStream:
    """A regular file, read once; ``sha256`` of what was read so far. The descriptor is its own."""

    def __init__(self, path: Path, *, hashed: bool = False) -> None:
        self.path = str(path)
        self._hash = hashlib.sha256() if hashed else None
        self._file = open_regular(path)
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, size: int, /) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise KernelFileError(self.path, f"it cannot be read: {error.strerror}") from error
        if self._hash:
            self._hash.update(data)
        return data

    def sha256(self) -> str:
        """Of the whole file, hex: reads what is left of it."""
        while self.read(_CHUNK):
            pass
        return self._hash.hexdigest() if self._hash else ""

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()


def open_regular(path: Path) -> BinaryIO:
    """The file opened for reading, owned by the caller: a regular file or nothing, and never waiting for one.

    Raises :exc:`KernelFileError`: not there, not allowed, a folder, a device, a pipe.
    """
    try:
        # O_NONBLOCK: opening a pipe would wait for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise KernelFileError(str(path), f"it cannot be read: {reason}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise KernelFileError(str(path), "it is no regular file", hint="name a kernel's file or package")
    return os.fdopen(descriptor, "rb")


class Slice:
    """The next ``size`` bytes of another stream as a stream; ``what`` names them in messages."""

    def __init__(self, source: Stream, size: int, path: str, what: str) -> None:
        self._source, self.left, self._path, self._what = source, size, path, what

    def read(self, size: int, /) -> bytes:
        wanted = min(size, self.left)
        data = self._source.read(wanted) if wanted else b""
        self.left -= len(data)
        if len(data) < wanted:
            raise cut_off(self._path, self._what, self.left)
        return data

    def drain(self) -> None:
        """Read what is left and forget it."""
        while self.left:
            self.read(_CHUNK)


def cut_off(path: str, what: str, lacking: int) -> KernelFileError:
    """The error for a file that ends too early."""
    return KernelFileError(
        path, f"it is cut off: {lacking} bytes are missing", place=what, hint="fetch or copy it again"
    )


def read_exactly(stream: Stream, size: int, path: str, what: str) -> bytes:
    """``size`` bytes; raises :exc:`KernelFileError` where the stream ends before."""
    data = stream.read(size)
    if len(data) < size:
        raise cut_off(path, what, size - len(data))
    return data


def drain(stream: Stream) -> None:
    """Read what is left and forget it."""
    while stream.read(_CHUNK):
        pass


def compression(head: bytes) -> str | None:
    """The name of the format that these first bytes (9 at least, unless the file is shorter) belong to."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


class Inflated:
    """A compressed stream, decompressed while it is read.

    ``kind`` is what :func:`compression` says. ``alone``: the compressed data end with their first stream or
    frame, and what follows does not belong to them (a kernel's payload); else streams may follow each other,
    as the tools of all formats allow. ``place`` names the part of the file in messages. Raises
    :exc:`KernelFileError` from :meth:`read`: damaged, cut off, more than ``limit`` bytes.
    """

    def __init__(
        self, source: Stream, kind: str, path: str, *, place: str | None, limit: int, alone: bool = False
    ) -> None:
        self._pieces = _pieces(source, kind, alone)
        self._kind, self._path, self._place, self._limit = kind, path, place, limit
        self._piece, self._at, self._total = b"", 0, 0

    def read(self, size: int, /) -> bytes:
        found = self._piece[self._at : self._at + size]
        self._at += len(found)
        if len(found) == size:
            return found
        parts, left = [found], size - len(found)
        while left:
            piece = self._next()
            if piece is None:
                break
            part = piece[:left]
            self._piece, self._at = piece, len(part)
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _next(self) -> bytes | None:
        try:
            piece = next(self._pieces, None)
        except KernelFileError:
            raise
        except _DAMAGE as error:
            words = " ".join(str(error).split())[:120] or type(error).__name__
            raise KernelFileError(
                self._path,
                f"the {self._kind} data are damaged: {words}",
                place=self._place,
                hint="fetch or copy it again",
            ) from error
        self._total += len(piece or b"")
        if self._total > self._limit:
            raise KernelFileError(
                self._path,
                f"it unpacks to more than {_amount(self._limit)}",
                place=self._place,
                hint="the file is damaged, or made to fill your memory",
            )
        return piece


def _amount(size: int) -> str:
    return f"{size} bytes" if size % (1 << 20) else f"{size >> 20} MiB"


def inflate(
    data: bytes, kind: str, path: str, *, place: str | None, limit: int, alone: bool = False
) -> bytes:
    """All of it in memory; at most ``limit`` bytes. Raises as :class:`Inflated` does."""
    stream = Inflated(io.BytesIO(data), kind, path, place=place, limit=limit, alone=alone)
    out = io.BytesIO()  # whose value is given away without a copy
    while piece := stream.read(_PIECE):
        out.write(piece)
    return out.getvalue()


class _Joined:
    """Bytes that were read already, and then the rest of their stream."""

    def __init__(self, head: bytes, rest: Stream) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int, /) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        return data + self._rest.read(size - len(data)) if len(data) < size else data


def plain(source: Stream, path: str, *, place: str | None, limit: int) -> Stream:
    """``source`` decompressed where it is compressed, else as it is; see :class:`Inflated`."""
    head = source.read(16)
    joined = _Joined(head, source)
    kind = compression(head)
    return Inflated(joined, kind, path, place=place, limit=limit) if kind else joined


class _Decoder(Protocol):
    """What lzma, bz2 and lz4.frame have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Zlib:
    """zlib's decompressor as lzma's looks."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max(max_length, 0))


class _Zstd:
    """One frame of zstd as lzma's decompressor looks, fed with so little that the output is bounded."""

    def __init__(self) -> None:
        import zstandard

        # 128 MiB: what `zstd --ultra -22` asks for, as the kernel's Makefile calls it
        self._inflate = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data + self._waiting

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        del max_length
        import zstandard

        everything = self._waiting + data if self._waiting else data
        out = []
        size = at = 0
        while at < len(everything) and not self._inflate.eof and size < _PIECE:
            try:
                part = self._inflate.decompress(everything[at : at + _ZSTD_CHUNK])
            except zstandard.ZstdError as error:
                raise Damage(str(error)) from error
            at += _ZSTD_CHUNK
            size += len(part)
            out.append(part)
        self._waiting = everything[at:]
        return b"".join(out)


def _lz4_frame() -> _Decoder:
    import lz4.frame

    return lz4.frame.LZ4FrameDecompressor()  # type: ignore[no-any-return]


def _xz() -> _Decoder:
    """liblzma's decoder, of 5.8 where lzma-mt brought that along: 5.6 and later take half the time on x86-64.

    To be removed with support for Debian 12, whose Python has 5.4; the one of Debian 13 has 5.8 itself.
    """
    try:
        from lzma_mt import LZMADecompressor
    except ImportError:  # there are wheels for x86-64 only
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, limits.LZMA_MEMORY)
    return LZMADecompressor(lzma.FORMAT_XZ, limits.LZMA_MEMORY)


_DECODERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": _Zlib,
    "xz": _xz,
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, limits.LZMA_MEMORY),
    "bzip2": bz2.BZ2Decompressor,
    "zstd": _Zstd,
    "lz4": _lz4_frame,
}


def _pieces(source: Stream, kind: str, alone: bool) -> Iterator[bytes]:
    if kind == "lz4 (legacy frame)":
        return lz4_legacy(source)
    if kind == "lzo":
        return lzop(source)
    return _decoded(source, _DECODERS[kind], alone)


def _decoded(source: Stream, make: Callable[[], _Decoder], alone: bool) -> Iterator[bytes]:
    decoder = make()
    data = source.read(_CHUNK)
    while True:
        ended = not data
        piece = decoder.decompress(data, _PIECE)
        if piece:
            yield piece
        if decoder.eof:
            rest = decoder.unused_data or b""
            if alone:
                return
            # zeros may follow: stream padding of xz, blocks of a tape
            while not (rest := rest.lstrip(b"\0")):
                rest = source.read(_CHUNK)
                if not rest:
                    return
            decoder, data = make(), rest
            continue
        if decoder.needs_input:
            data = source.read(_CHUNK)
            if not data and ended:
                raise Damage("they end before their end mark")
        else:
            data = b""
