# SPDX-License-Identifier: Apache-2.0
"""What kernels of the catalogue said when they were asked, beside the catalogue: a file for each build.

The built-in catalogue cannot be written to, and a copy of its kernel for some answers would take megabytes.
``holdfast verify`` writes here, and :class:`~holdfast.kernels.catalogue.shelf.Entry` reads. A file is a blob
of :mod:`holdfast.kernels.catalogue.answers` and its crc32 (little-endian).
"""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.cache import digest
from holdfast.kernels.catalogue.index import KernelRow
from holdfast.kernels.catalogue.store import data_folder
from holdfast.kernels.probed import ProbeFacts

__all__ = ["Asked"]

_FORMAT: Final = 2
_LONGEST: Final = 1 << 20  # bytes of a file; a kernel's answers have 5 kB
_CHECK: Final = 4  # bytes


class Asked:
    """The answers in a folder; None keeps nothing. :meth:`open` takes the user's."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    def open(cls) -> Asked:
        """Those in ``asked`` of the user's data folder."""
        home = data_folder()
        return cls(None if home is None else home / "asked")

    def path(self, row: KernelRow) -> Path | None:
        """Where the answers of this build are, or would be. A build is its id and its package's version."""
        return self.folder and self.folder / f"{digest(f'asked {_FORMAT}', row.id, row.package)}.answers"

    def has(self, row: KernelRow) -> bool:
        """Whether this build has answered."""
        path = self.path(row)
        return path is not None and path.is_file()

    def get(self, row: KernelRow) -> ProbeFacts | None:
        """What this build answered; None where it was not asked, or the file is not to be believed."""
        from holdfast.kernels.catalogue.answers import read_answers
        from holdfast.kernels.catalogue.parts import DamagedError

        path = self.path(row)
        try:
            if path is None or path.stat().st_size > _LONGEST:
                return None
            content = path.read_bytes()
            blob, check = content[:-_CHECK], content[-_CHECK:]
            return read_answers(blob) if check == _crc(blob) else None
        except (OSError, DamagedError):
            return None

    def put(self, row: KernelRow, probes: ProbeFacts) -> None:
        """Keep what it answered, in the place of what it said before. Raises
        :exc:`~holdfast.errors.KernelFileError` where that cannot be written.
        """
        from holdfast.kernels.catalogue.answers import pack_answers

        path = self.path(row)
        if path is None:
            raise KernelFileError(
                row.id, "there is no folder to keep its answers in", hint="set XDG_DATA_HOME"
            )
        blob = pack_answers(probes)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd, aside = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(blob + _crc(blob))
                Path(aside).replace(path)
            except BaseException:
                Path(aside).unlink(missing_ok=True)
                raise
        except OSError as error:
            problem = f"its answers cannot be kept in {path.parent}: {error.strerror}"
            raise KernelFileError(row.id, problem, hint="set XDG_DATA_HOME to a folder of yours") from None


def _crc(blob: bytes) -> bytes:
    return zlib.crc32(blob).to_bytes(_CHECK, "little")
