# SPDX-License-Identifier: Apache-2.0
"""The members of a tar archive out of a stream.

What deb(5) and the tools of other distributions write: v7, ustar, GNU long names, and of pax headers ``path``
and ``size`` (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar
Format"). The standard library's tarfile reads more, and holds extended headers of any size in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack.members import Counted, Member
from holdfast.kernels.unpack.streams import Slice, Stream, drain, read_exactly

__all__ = ["is_tar", "members"]

_BLOCK: Final = 512
_EXTENDED: Final = 64 << 10  # bytes of a long name or of a pax header
_NUL_BLOCK: Final = bytes(_BLOCK)
_REGULAR: Final = (b"0", b"\0", b"7")


def is_tar(head: bytes) -> bool:
    """Whether these first 512 bytes are a header of ustar or GNU tar."""
    return head[257:262] == b"ustar"


def members(stream: Stream, path: str, what: str) -> Iterator[Member]:
    """Each member, in order; ``what`` names the archive in messages (``data.tar``).

    Stops after the end mark (a block of zeros). Raises :exc:`KernelFileError`: damaged, cut off (also without
    the end mark), too many members, names that lead out of the archive.
    """
    counted = Counted(path)
    offset = 0
    changes: dict[str, str] = {}
    while True:
        header = read_exactly(stream, _BLOCK, path, what)
        if header == _NUL_BLOCK:
            drain(stream)  # checksums may follow, and a file that is cut off there is damaged, too
            return
        counted.one_more()
        where = f"{what}, offset {offset:#x}"
        size, kind = _size(header, path, where), header[156:157]
        if kind in (b"x", b"g", b"L", b"K"):
            if size > _EXTENDED:
                raise KernelFileError(path, f"an extended header of {size} bytes", place=where, hint=_HINT)
            text = read_exactly(stream, size, path, where)
            read_exactly(stream, -size % _BLOCK, path, where)
            if kind == b"x":
                changes.update(_pax(text, path, where))
            elif kind == b"L":
                changes["path"] = _text(text.rstrip(b"\0"))
            offset += _BLOCK + size + -size % _BLOCK
            continue
        if "size" in changes:
            if not changes["size"].isdecimal() or len(changes["size"]) > 20:
                raise KernelFileError(
                    path, "a pax header with a size that is no number", place=where, hint=_HINT
                )
            size = int(changes["size"])
        name = changes.get("path") or _name(header)
        # POSIX: links, devices and folders have no data, whatever their size says
        held = 0 if kind in (b"1", b"2", b"3", b"4", b"5", b"6") else size
        member = Member(stream, name, held, path, regular=kind in _REGULAR and not name.endswith("/"))
        changes = {}
        yield member
        member.drain()
        Slice(stream, -held % _BLOCK, path, where).drain()
        offset += _BLOCK + held + -held % _BLOCK


_HINT: Final = "the package is damaged: fetch it again"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _name(header: bytes) -> str:
    name = _text(header[:100].split(b"\0", 1)[0])
    prefix = header[345:500].split(b"\0", 1)[0]
    # only ustar has a prefix there; GNU's own format ("ustar  ") keeps times in it
    if prefix and header[257:263] == b"ustar\0":
        return f"{_text(prefix)}/{name}"
    return name


def _size(header: bytes, path: str, where: str) -> int:
    """Of the data in bytes, once the checksum fits: octal digits, or base 256 where the top bit is set."""
    try:
        checksum = int(header[148:156].split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        checksum = -1
    if checksum != sum(header) - sum(header[148:156]) + 8 * 32:
        raise KernelFileError(path, "no header of a tar archive", place=where, hint=_HINT)
    field = header[124:136]
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        size = int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        size = -1
    if size < 0:
        raise KernelFileError(path, "a size that is no number", place=where, hint=_HINT)
    return size


def _pax(text: bytes, path: str, where: str) -> Iterator[tuple[str, str]]:
    """Records ``LENGTH KEY=VALUE\\n``, the length in decimal and of the whole record."""
    at = 0
    while at < len(text) and text[at]:
        digits = text[at : at + 12].split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() else 0
        record = text[at + len(digits) + 1 : at + length - 1]
        key, separator, value = record.partition(b"=")
        if length <= len(digits) + 2 or at + length > len(text) or not separator:
            raise KernelFileError(path, "a damaged pax header", place=where, hint=_HINT)
        if key in (b"path", b"size"):
            yield key.decode("ascii"), _text(value)
        at += length
