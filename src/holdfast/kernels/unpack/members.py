# SPDX-License-Identifier: Apache-2.0
"""Members of an archive, whatever the archive: a name, a size, and bytes that are read once or skipped."""

from __future__ import annotations

from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack import limits
from holdfast.kernels.unpack.streams import Slice, Stream

__all__ = ["Counted", "Member", "clean_name", "shown"]

_NAME: Final = 4096  # bytes; PATH_MAX


def shown(name: str) -> str:
    """A name out of an archive for a message: one line, nothing that a terminal would obey, not endless."""
    text = ascii(name)
    return text if len(text) <= 120 else f"{text[:100]}...'"


def clean_name(name: str, path: str) -> str:
    """``./usr/lib//x`` as ``usr/lib/x``; the archive's own folder is the empty string.

    Raises :exc:`KernelFileError` for a name that leads out of the folder into which the archive would be
    unpacked. Nothing is unpacked here, but an archive that tries is not what it says it is.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    problem = ""
    if name.startswith("/"):
        problem = "has an absolute name"
    elif ".." in parts:
        problem = "leads out of the archive"
    elif "\0" in name or len(name) > _NAME:
        problem = "has a name that no file can have"
    if problem:
        raise KernelFileError(
            path,
            f"its member {shown(name)} {problem}",
            hint="no distribution makes such packages: do not install this one",
        )
    return "/".join(parts)


class Member:
    """One file of an archive, to be read before the next is asked for.

    ``name`` is clean (:func:`clean_name`), ``size`` in bytes; ``regular`` is false for folders, links,
    devices.
    """

    def __init__(self, stream: Stream, name: str, size: int, path: str, *, regular: bool) -> None:
        self.name = clean_name(name, path)
        self.size, self.regular = size, regular
        self._path = path
        self._data = Slice(stream, size, path, shown(self.name))

    def read(self, limit: int) -> bytes:
        """All of it. Raises :exc:`KernelFileError`: it claims more than ``limit`` bytes, or fewer come."""
        if self.size > limit:
            raise KernelFileError(
                self._path,
                f"it claims {self.size} bytes, {limit >> 20} MiB are the limit",
                place=shown(self.name),
                hint="such a file is in no kernel package",
            )
        return self._data.read(self.size)

    def drain(self) -> None:
        """Skip what was not read."""
        self._data.drain()


class Counted:
    """Counts members of one archive against :data:`limits.MEMBERS`."""

    def __init__(self, path: str) -> None:
        self._path, self._count = path, 0

    def one_more(self) -> None:
        self._count += 1
        if self._count > limits.MEMBERS:
            raise KernelFileError(
                self._path,
                f"it has more than {limits.MEMBERS} members",
                hint="no kernel package has so many",
            )
