# SPDX-License-Identifier: Apache-2.0
"""cpio archives as the kernel unpacks them into its first root.

The format is newc: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c.

Several archives, each padded to four bytes, may follow each other.
"""

from __future__ import annotations

import stat
from io import BytesIO
from pathlib import PurePosixPath

__all__ = ["Archive"]

_TRAILER = "TRAILER!!!"
_ALIGN = 4


class Archive:
    """An archive being written. Folders on the way to an entry are made; nothing is written twice.

    Paths are absolute, without ``.`` and ``..``. All belong to root and have the time 0.
    """

    def __init__(self) -> None:
        self._out = BytesIO()
        self._names: set[str] = set()

    def __contains__(self, path: str) -> bool:
        return _name(path) in self._names

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder."""
        self._add(path, stat.S_IFDIR | mode)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(path, stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode("utf-8", "surrogateescape"))

    def device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device."""
        self._add(path, stat.S_IFCHR | mode, device=(major, minor))

    def to_bytes(self) -> bytes:
        """Return the archive with its end. It may still be added to."""
        return self._out.getvalue() + _entry(_TRAILER, 0, b"", 0, (0, 0))

    def _add(self, path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        name = _name(path)
        if name in self._names:
            return
        parent = str(PurePosixPath(name).parent)
        if parent != "." and parent not in self._names:
            self.folder("/" + parent)
        self._names.add(name)
        self._out.write(_entry(name, mode, content, len(self._names), device))


def _name(path: str) -> str:
    if not path.startswith("/") or any(part in (".", "..") for part in path.split("/")) or "\0" in path:
        raise ValueError(f"{path!r} is no absolute path for an archive")
    return str(PurePosixPath(path.lstrip("/")))


def _entry(name: str, mode: int, content: bytes, inode: int, device: tuple[int, int]) -> bytes:
    raw = name.encode("utf-8", "surrogateescape") + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)
