# SPDX-License-Identifier: Apache-2.0
"""Kernels out of RPM packages.

Layout: rpm's own docs/manual/format_v4.md (lead of 96 bytes, signature header, header, payload) and
format_header.md; tags by their numbers in include/rpm/rpmtag.h.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.record import PackageOrigin
from holdfast.kernels.unpack import cpio, limits
from holdfast.kernels.unpack.gather import Gathered
from holdfast.kernels.unpack.streams import FileStream, Stream, plain, read_exactly

__all__ = ["is_rpm", "read"]

_MAGIC: Final = b"\xed\xab\xee\xdb"
_LEAD: Final = 96
_HEADER: Final = b"\x8e\xad\xe8\x01"
_MOST: Final = 64 << 20  # bytes of a header; rpm's own limit is 256 MiB, kernel packages have 4
_LONGEST: Final = 4096  # bytes of a text that are looked at
_TEXT: Final = 6  # RPM_STRING_TYPE
_NAME, _VERSION, _RELEASE, _VENDOR, _SOURCE, _FORMAT = 1000, 1001, 1002, 1011, 1044, 1124


def is_rpm(head: bytes) -> bool:
    """Whether a file that begins so is an RPM package."""
    return head.startswith(_MAGIC)


def read(path: Path, into: Gathered) -> PackageOrigin:
    """Read a package once, from front to back, put its parts of a kernel into ``into``; what it says it is.

    Raises :exc:`KernelFileError`: no package, damaged, cut off, hostile.
    """
    stream, name = FileStream(path, hashed=True), str(path)
    try:
        if not is_rpm(read_exactly(stream, _LEAD, name, "lead")):
            raise KernelFileError(
                name,
                "it is no RPM package, as the first one is",
                place="offset 0",
                hint="name packages of one build",
            )
        _, size = _header(stream, name, "signature")
        read_exactly(stream, -size % 8, name, "signature")
        tags, _ = _header(stream, name, "header")
        kind = tags.get(_FORMAT, "cpio")
        if kind != "cpio":
            raise KernelFileError(
                name,
                f"its payload is {kind[:20]!a}, only cpio can be read",
                place="header",
                hint="unpack it with rpm's own tools and name the folder",
            )
        payload = plain(stream, name, place="payload", limit=limits.PACKAGE)
        into.take_all(cpio.members(payload, name), name)
        version = f"{tags.get(_VERSION, '')}-{tags.get(_RELEASE, '')}"
        return PackageOrigin(
            name=tags.get(_NAME, ""),
            version=version,
            distribution=_distribution(tags.get(_VENDOR, "")),
            sha256="" if into.only_kernel else stream.sha256(),
            source=tags.get(_SOURCE, "").removesuffix(".src.rpm").removesuffix("-" + version),
            source_version=version,
        )
    finally:
        stream.close()


def _distribution(vendor: str) -> str:
    known = {
        "fedora": "fedora",
        "suse": "suse",
        "red hat": "rhel",
        "almalinux": "almalinux",
        "rocky": "rocky",
    }
    return next((name for word, name in known.items() if word in vendor.lower()), "")


def _header(stream: Stream, path: str, what: str) -> tuple[dict[int, str], int]:
    """The texts in a header by tag, and its data's size: magic, version, 4 bytes, counts, index, data."""
    head = read_exactly(stream, 16, path, what)
    count, size = struct.unpack_from(">II", head, 8)
    if head[:4] != _HEADER or count * 16 + size > _MOST:
        raise KernelFileError(
            path, "no header of an RPM package", place=what, hint="the package is damaged: fetch it again"
        )
    index = read_exactly(stream, count * 16, path, what)
    data = read_exactly(stream, size, path, what)
    texts = {}
    for tag, kind, offset, _ in struct.iter_unpack(">IIII", index):
        if kind == _TEXT and offset < size:
            texts[tag] = data[offset : offset + _LONGEST].partition(b"\0")[0].decode("utf-8", "replace")
    return texts, size
