# SPDX-License-Identifier: Apache-2.0
"""The members of a cpio archive of the "newc" kind, which RPM packages hold; cpio(5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack.members import Counted, Member
from holdfast.kernels.unpack.streams import Slice, Stream, drain, read_exactly

__all__ = ["members"]

_HEADER: Final = 110
_END: Final = "TRAILER!!!"
_S_IFMT: Final = 0o170000
_S_IFREG: Final = 0o100000
_NAME: Final = 4096


def members(stream: Stream, path: str) -> Iterator[Member]:
    """Each member, in order, up to the trailer.

    Raises :exc:`KernelFileError`: damaged, cut off, too many members, names that lead out of the archive.
    Files with several links hold their data in the last one; the others have no bytes and pass for no file.
    """
    counted = Counted(path)
    offset = 0
    while True:
        where = f"payload, offset {offset:#x}"
        header = read_exactly(stream, _HEADER, path, where)
        counted.one_more()
        try:
            if header[:6] not in (b"070701", b"070702"):
                raise ValueError
            fields = [int(header[at : at + 8].decode("ascii"), 16) for at in range(6, _HEADER, 8)]
        except ValueError:
            raise _damaged(path, where, "no header of a cpio archive (newc)") from None
        mode, links, size, length = fields[1], fields[4], fields[6], fields[11]
        if min(fields) < 0 or not 0 < length <= _NAME:
            raise _damaged(path, where, f"a name of {length} bytes")
        padded = length + -(_HEADER + length) % 4
        name = read_exactly(stream, padded, path, where)[: length - 1].decode("utf-8", "surrogateescape")
        if name == _END:
            drain(stream)
            return
        regular = mode & _S_IFMT == _S_IFREG and not (links > 1 and size == 0)
        member = Member(stream, name, size, path, regular=regular)
        yield member
        member.drain()
        Slice(stream, -size % 4, path, where).drain()
        offset += _HEADER + padded + size + -size % 4


def _damaged(path: str, where: str, problem: str) -> KernelFileError:
    return KernelFileError(path, problem, place=where, hint="the package is damaged: fetch it again")
