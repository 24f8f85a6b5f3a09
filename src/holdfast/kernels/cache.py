# SPDX-License-Identifier: Apache-2.0
"""What is kept of kernels between calls: indexes over BTF, and answers of probes.

A file is named after a digest of everything that its content depends on, so one that is out of date is never
found, and carries a checksum, so one that is damaged is not believed (:mod:`holdfast.kernels.cache_seal` says
when it is compared). Nothing here is needed: whatever goes
wrong with a file or the folder, the work is done again.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.index import TypeIndex
from holdfast.kernels.cache_seal import is_sealed, seal

__all__ = ["Cache", "digest", "folder"]

_FORMAT: Final = b"holdfast cache 1"
_CHECK: Final = struct.Struct("<16sQQ")  # format, length of the content in bytes, its crc32
_HEADER: Final = _CHECK.size
_KEEP: Final = 2000  # files; four for each kernel of the catalogue, one for each module of this machine


def folder() -> Path | None:
    """``$XDG_CACHE_HOME/holdfast`` or ``~/.cache/holdfast``; None where there is no home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification says to ignore a relative path.
    if named.startswith("/"):
        return Path(named) / "holdfast"
    home = os.environ.get("HOME", "")
    return Path(home) / ".cache" / "holdfast" if home.startswith("/") else None


def digest(*parts: bytes | str) -> str:
    """A name for content that depends on these parts and on nothing else."""
    state = blake2b(_FORMAT, digest_size=20)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "little"))
        state.update(raw)
    return state.hexdigest()


class Cache:
    """A folder of this user's own (0700); ``None`` keeps nothing.

    A folder or file that belongs to somebody else, that others may write, or that is a symbolic link is left
    alone and not believed.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def get(self, name: str) -> memoryview | None:
        """The content kept under this name, mapped into memory; None when there is none to believe."""
        if self.path is None or not self._own(self.path):
            return None
        try:
            fd = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if not _trusted(status) or not stat.S_ISREG(status.st_mode) or status.st_size < _HEADER:
                return None
            view = memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
            header, content = bytes(view[:_HEADER]), view[_HEADER:]
            if not is_sealed(status, header):
                if header != _header(content):
                    return None
                seal(fd, status, header)
            return content
        except (OSError, ValueError):
            return None
        finally:
            os.close(fd)

    def put(self, name: str, content: bytes) -> None:
        """Keep content under this name: written aside and renamed, so that no reader sees half of it."""
        if self.path is None or not self._make():
            return
        import tempfile  # it brings more modules than all the rest here

        try:
            fd, temporary = tempfile.mkstemp(dir=self.path, prefix=".new-")
        except OSError:
            return
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(_header(content))
                file.write(content)
            Path(temporary).replace(self.path / name)
        except OSError:
            pass
        finally:  # also where Ctrl-C ends it
            Path(temporary).unlink(missing_ok=True)
        self._prune()

    def btf(self, data: bytes, depends: str, *, base: Btf | None = None, origin: str) -> Btf:
        """BTF with its index from here, or made and kept. ``depends`` digests the data and its base.

        Raises :exc:`~holdfast.errors.BtfError` for data that is no BTF.
        """
        check = zlib.crc32(data)
        name = f"{depends}.index"
        index = self.index(name, check)
        btf = Btf(data, base=base, origin=origin, index=index)
        if index is None:
            self.put_index(name, check, btf.index)
        return btf

    def index(self, name: str, data_check: int) -> TypeIndex | None:
        """The index kept under this name for data with this checksum."""
        content = self.get(name)
        if content is None or content[:8] != data_check.to_bytes(8, "little"):
            return None
        return TypeIndex.from_buffer(content[8:])

    def put_index(self, name: str, data_check: int, index: TypeIndex) -> None:
        """Keep an index."""
        self.put(name, data_check.to_bytes(8, "little") + index.to_bytes())

    @staticmethod
    def _own(path: Path) -> bool:
        try:
            status = path.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(status.st_mode) and _trusted(status)

    def _make(self) -> bool:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.mkdir(exist_ok=True, mode=0o700)
        except OSError:
            return False
        return self._own(self.path)

    def _prune(self) -> None:
        """Drop what was used longest ago, when there is too much: kernels come and go."""
        assert self.path is not None
        try:
            with os.scandir(self.path) as entries:
                # the time of the last mark, not of the last change, which cache_seal uses for its mark
                files = [
                    (entry.stat(follow_symlinks=False).st_ctime, entry.path)
                    for entry in entries
                    if entry.is_file(follow_symlinks=False)  # not the folder of packages
                ]
            for _, path in sorted(files)[: max(len(files) - _KEEP, 0)]:
                Path(path).unlink(missing_ok=True)
        except OSError:
            pass


def _header(content: bytes | memoryview) -> bytes:
    return _CHECK.pack(_FORMAT, len(content), zlib.crc32(content))


def _trusted(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
