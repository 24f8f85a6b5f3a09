# SPDX-License-Identifier: Apache-2.0
"""The members of an ar archive as deb(5) restricts it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack.members import shown
from holdfast.kernels.unpack.streams import Slice, Stream, read_exactly

__all__ = ["MAGIC", "check_magic", "members"]

MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60


def members(stream: Stream, path: str) -> Iterator[tuple[str, Slice]]:
    """Name and bytes of each, in order; what is not read is skipped. ``stream`` stands behind the magic.

    Raises :exc:`KernelFileError`: no header where one must be, cut off.
    """
    offset = len(MAGIC)
    while head := stream.read(_HEADER):
        digits = head[48:58].strip()
        if len(head) < _HEADER or head[58:] != b"`\n" or not digits.isdigit():
            raise KernelFileError(
                path,
                "no header of an ar archive",
                place=f"offset {offset:#x}",
                hint="the package is cut off or damaged: fetch it again",
            )
        name, size = head[:16].decode("ascii", "replace").strip().rstrip("/"), int(digits)
        data = Slice(stream, size, path, shown(name))
        yield name, data
        data.drain()
        if size % 2 and not stream.read(1):
            return  # the last member's padding is left out by some tools
        offset += _HEADER + size + size % 2


def check_magic(stream: Stream, path: str) -> None:
    """Read the magic number."""
    if read_exactly(stream, len(MAGIC), path, "offset 0") != MAGIC:
        raise KernelFileError(path, "it is no ar archive", place="offset 0", hint="name a Debian package")
