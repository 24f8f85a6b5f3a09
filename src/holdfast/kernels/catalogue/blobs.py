# SPDX-License-Identifier: Apache-2.0
"""A folder of files that are named after their content.

A file's name is a digest of its bytes, so damage shows whenever one is read, and the same content is there
once. A file is written aside, brought to disk and renamed: what has its name is whole.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.catalogue.parts import DamagedError

__all__ = ["BLOB", "MANIFEST", "Blobs", "own_folder", "write_aside"]

BLOB: Final = ".blob"
MANIFEST: Final = ".kernel"
"""What a file's name ends in: manifests are told apart, so that an index can be made from them again."""

_ASIDE: Final = ".new-"
_MOST: Final = 256 << 20  # bytes of a blob


def name_of(content: bytes, ending: str = BLOB) -> str:
    """The name of a blob with this content."""
    return blake2b(content, digest_size=20).hexdigest() + ending


class Blobs:
    """The files of one store; ``folder`` need not exist until something is put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> bytes:
        """The content. Raises :exc:`DamagedError` where it is missing or is not what was put."""
        try:
            fd = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(fd, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST:
                    raise DamagedError(f"{name} is no blob")
                content = file.read()
        except OSError as error:
            raise DamagedError(f"{name}: {error.strerror}") from error
        if name_of(content, Path(name).suffix) != name:
            raise DamagedError(f"{name} is not what was written: its checksum differs")
        return content

    def put(self, content: bytes, ending: str = BLOB) -> tuple[str, bool]:
        """Its name, and whether it is new here. Raises :exc:`OSError`."""
        name = name_of(content, ending)
        path = self.folder / name
        if path.exists():
            try:
                self.get(name)
            except DamagedError:
                pass  # written again below
            else:
                return name, False
        write_aside(path, content)
        return name, True

    def names(self) -> Iterator[str]:
        """All files, those aside left out."""
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if path.suffix in (BLOB, MANIFEST) and not path.name.startswith("."):
                    yield path.name

    def size(self, name: str) -> int:
        """Bytes on disk, 0 where it is missing."""
        try:
            return (self.folder / name).lstat().st_size
        except OSError:
            return 0

    def sweep(self, keep: frozenset[str]) -> None:
        """Drop what is not to be kept, and what was left aside by somebody who was interrupted."""
        for path in list(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.name.startswith(_ASIDE) or (path.suffix in (BLOB, MANIFEST) and path.name not in keep):
                path.unlink(missing_ok=True)


def write_aside(path: Path, content: bytes) -> None:
    """Make the file, whole or not at all, and on disk when this returns. Raises :exc:`OSError`."""
    import tempfile

    fd, aside = tempfile.mkstemp(dir=path.parent, prefix=_ASIDE)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk. Raises :exc:`OSError`."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def own_folder(path: Path) -> None:
    """Make sure that a folder that exists is this user's and nobody else may write to it.

    Raises :exc:`~holdfast.errors.KernelFileError`: verdicts must not rest on what others could have written.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        problem = "it is no folder"
    elif status.st_uid != os.geteuid():
        problem = f"it belongs to user {status.st_uid}, not to you ({os.geteuid()})"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = f"others may write to it (mode {stat.S_IMODE(status.st_mode):o})"
    else:
        return
    hint = "a catalogue must be yours alone (chmod 700); or name another folder in XDG_DATA_HOME"
    raise KernelFileError(str(path), problem, hint=hint)
