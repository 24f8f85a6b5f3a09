# SPDX-License-Identifier: Apache-2.0
"""Kernels out of tar archives, compressed or not: Arch Linux's packages, and roots that somebody packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from holdfast.kernels.record import PackageOrigin
from holdfast.kernels.unpack import limits, tar
from holdfast.kernels.unpack.gather import Gathered
from holdfast.kernels.unpack.members import Member
from holdfast.kernels.unpack.streams import FileStream, plain

__all__ = ["is_tarball", "read"]


def is_tarball(path: Path) -> bool:
    """Whether a file is a tar archive, perhaps a compressed one; decompresses its first block only."""
    stream = FileStream(path)
    try:
        return tar.is_tar(plain(stream, str(path), place=None, limit=limits.PACKAGE).read(512))
    finally:
        stream.close()


def read(path: Path, into: Gathered) -> PackageOrigin | None:
    """Read an archive once, from front to back; what its .PKGINFO says (alpm-pkginfo(5)), None without one.

    Raises :exc:`~holdfast.errors.KernelFileError`: damaged, cut off, hostile.
    """
    stream = FileStream(path, hashed=True)
    told: dict[str, str] = {}
    try:
        whole = plain(stream, str(path), place=None, limit=limits.PACKAGE)
        into.take_all(_listening(tar.members(whole, str(path), "archive"), told), str(path))
        if "pkgname" not in told:
            return None
        source = told.get("pkgbase", told["pkgname"])
        version = told.get("pkgver", "")
        return PackageOrigin(
            told["pkgname"], version, sha256=stream.sha256(), source=source, source_version=version
        )
    finally:
        stream.close()


def _listening(members: Iterable[Member], told: dict[str, str]) -> Iterator[Member]:
    for member in members:
        if member.name == ".PKGINFO" and member.regular:
            for line in member.read(limits.CONTROL).decode("utf-8", "replace").splitlines():
                key, separator, value = line.partition("=")
                if separator and not line.startswith("#"):
                    told.setdefault(key.strip(), value.strip())
        yield member
