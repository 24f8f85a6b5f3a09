# SPDX-License-Identifier: Apache-2.0
"""BPF_OBJ_PIN and BPF_OBJ_GET on a bpf file system."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from holdfast.sys.abi import Command
from holdfast.sys.fd import OwnedFd
from holdfast.sys.syscall import address, bpf, buffer

__all__ = ["is_bpffs", "obj_get", "obj_pin"]


def _path(path: str | os.PathLike[str]) -> bytes:
    return os.fsencode(path) + b"\0"


def obj_pin(fd: int, path: str | os.PathLike[str]) -> None:
    """Pins a program, map or link; the pin keeps it alive until unlinked. Raises :class:`OSError`.

    EEXIST: something is there; EPERM also when ``path`` is no bpf file system or has a dot in its last part.
    """
    name = buffer(_path(path))
    bpf(Command.OBJ_PIN, struct.pack("=QII", address(name), fd, 0))


def obj_get(path: str | os.PathLike[str]) -> OwnedFd:
    """Returns a descriptor of what is pinned there. Raises :class:`OSError`."""
    name = buffer(_path(path))
    return OwnedFd(bpf(Command.OBJ_GET, struct.pack("=QII", address(name), 0, 0)))


def is_bpffs(path: str | os.PathLike[str]) -> bool:
    """Returns whether ``path`` (which exists) lies on a bpf file system."""
    # statfs is not in Python's os; the mount table tells the same.
    found, best = "", -1
    target = str(Path(path).resolve())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        point = fields[1].encode().decode("unicode_escape")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            found, best = fields[2], len(point)
    return found == "bpf"
