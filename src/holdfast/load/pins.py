# SPDX-License-Identifier: Apache-2.0
"""Pins: all of them or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from holdfast import sys as kernel
from holdfast.errors import HoldfastError, LibbpfError
from holdfast.load.failure import failed_call

__all__ = ["Pins", "pin_all", "pin_name"]


def pin_name(name: str) -> str:
    """Returns the file name for a program or map: dots become underscores, as in libbpf's sanitize_pin_path.

    The bpf file system keeps names with dots for itself (kernel bpf_lookup).
    """
    return name.replace(".", "_")


class Pins:
    """What one call pinned: it outlives the process until :meth:`remove`."""

    __slots__ = ("_folders", "paths")

    def __init__(self) -> None:
        self.paths: tuple[Path, ...] = ()
        self._folders: list[Path] = []

    def remove(self) -> None:
        """Unlinks the pins, and the folders that were made for them when nothing else is in them."""
        for path in self.paths:
            path.unlink(missing_ok=True)
        self.paths = ()
        while self._folders:
            try:
                self._folders.pop().rmdir()
            except OSError:  # somebody else's pins, or gone already
                pass

    def _make_folder(self, folder: Path) -> None:
        absent = []
        while not folder.exists():
            absent.append(folder)
            folder = folder.parent
        for path in reversed(absent):
            path.mkdir(mode=0o700)
            self._folders.append(path)


def pin_all(folder: str | os.PathLike[str], descriptors: Mapping[str, int]) -> Pins:
    """Pins each descriptor as ``folder/name`` and returns the pins; on any error none of them stays.

    Missing folders are made (mode 0700). Raises :class:`LibbpfError` (no bpf file system there, something
    is in the way, two names become one) or :class:`PrivilegeError`.
    """
    base, pins = Path(folder), Pins()
    try:
        _check_place(base)
        pins._make_folder(base)
        for name, fd in descriptors.items():
            path = base / pin_name(name)
            kernel.obj_pin(fd, path)
            pins.paths = (*pins.paths, path)
    except OSError as error:
        pins.remove()
        raise _failure(base, error) from None
    except BaseException:
        pins.remove()
        raise
    return pins


def _check_place(folder: Path) -> None:
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not kernel.is_bpffs(existing):
        raise LibbpfError(
            f"{folder}: not on a bpf file system, nothing can be pinned there",
            hint="pin below /sys/fs/bpf, or mount one: mount -t bpf bpf DIR",
        )


def _failure(folder: Path, error: OSError) -> HoldfastError:
    if error.errno == errno.EEXIST:
        return LibbpfError(
            f"{folder}: a pin of that name exists already", hint="unlink it, or pin into another folder"
        )
    return failed_call(f"{folder}: pinning", error)
