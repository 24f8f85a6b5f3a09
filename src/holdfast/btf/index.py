# SPDX-License-Identifier: Apache-2.0
"""The index over BTF: where each type stands, and which types carry a name.

Three flat arrays, so that an index can be written to a file and used again straight from a memory map
(:mod:`holdfast.kernels.cache` does that for kernels, whose BTF takes a tenth of a second to walk).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final
from zlib import crc32

__all__ = ["CutOffError", "TypeIndex", "UnknownKindError", "essential_name"]

_HEADER: Final = struct.Struct("<8sII")
_MAGIC: Final = b"hfindex1"


class CutOffError(Exception):
    """The type section ends inside a type; ``at`` is its offset in bytes, ``ordinal`` its place."""

    def __init__(self, at: int, ordinal: int) -> None:
        super().__init__(at, ordinal)
        self.at = at
        self.ordinal = ordinal


class UnknownKindError(CutOffError):
    """A type is of a kind whose size is not known."""

    def __init__(self, at: int, ordinal: int, kind: int) -> None:
        super().__init__(at, ordinal)
        self.kind = kind


def essential_name(name: str) -> str:
    """The name without its type flavor: ``task_struct___old`` is ``task_struct``.

    A flavor begins at the last ``___`` that has a character other than ``_`` on both sides, as in
    ``bpf_core_essential_name_len()`` of libbpf's relo_core.c.
    """
    if "___" not in name:
        return name
    for i in range(len(name) - 5, -1, -1):
        if name[i] != "_" and name[i + 1 : i + 4] == "___" and name[i + 4] != "_":
            return name[: i + 1]
    return name


def _hash(name: str) -> int:
    return crc32(name.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class TypeIndex:
    """``offsets`` (bytes into the data) and ``name_offs`` by ordinal; ``by_name`` sorted ``hash << 32 |
    ordinal``.
    """

    offsets: Sequence[int]
    name_offs: Sequence[int]
    by_name: Sequence[int]

    def ordinals(self, essential: str) -> Iterator[int]:
        """Ordinals of types whose essential name may be ``essential`` (hashes can collide: compare names)."""
        wanted = _hash(essential) << 32
        at = bisect_left(self.by_name, wanted)
        while at < len(self.by_name) and self.by_name[at] >> 32 == wanted >> 32:
            yield self.by_name[at] & 0xFFFFFFFF
            at += 1

    def to_bytes(self) -> bytes:
        """A form for files, little-endian; :meth:`from_buffer` reads it."""
        head = _HEADER.pack(_MAGIC, len(self.offsets), len(self.by_name))
        parts = [array("I", self.offsets), array("I", self.name_offs), array("Q", self.by_name)]
        return head + b"".join(part.tobytes() for part in (parts[2], parts[0], parts[1]))

    @classmethod
    def from_buffer(cls, data: bytes | memoryview) -> TypeIndex | None:
        """Use :meth:`to_bytes`'s result in place (``data`` must outlive the index); None if it is not one."""
        view = memoryview(data)
        if len(view) < _HEADER.size:
            return None
        magic, types, named = _HEADER.unpack_from(view)
        if magic != _MAGIC or len(view) != _HEADER.size + 8 * named + 8 * types:
            return None
        names_end = _HEADER.size + 8 * named
        offsets_end = names_end + 4 * types
        return cls(
            view[names_end:offsets_end].cast("I"),
            view[offsets_end:].cast("I"),
            view[_HEADER.size : names_end].cast("Q"),
        )


def build(
    data: bytes,
    order: str,
    start: int,
    end: int,
    sizes: dict[int, tuple[int, int]],
    strings: bytes,
    str_start: int,
) -> TypeIndex:
    """Walk the type section ``data[start:end]``.

    ``sizes`` gives, per kind, the bytes after the 12-byte header and the bytes per vlen element. ``strings``
    begins at string offset ``str_start``; names from a base's strings are left to
    :class:`~holdfast.btf.reader.Btf`. Raises :exc:`CutOffError`.
    """
    offsets, name_offs = array("I"), array("I")
    unpack = struct.Struct(order + "II").unpack_from
    add_offset, add_name = offsets.append, name_offs.append
    at = start
    while at < end:
        if at + 12 > end:
            raise CutOffError(at, len(offsets))
        name_off, info = unpack(data, at)
        try:
            fixed, element = sizes[(info >> 24) & 0x7F]
        except KeyError:
            raise UnknownKindError(at, len(offsets), (info >> 24) & 0x7F) from None
        add_offset(at)
        add_name(name_off)
        at += 12 + fixed + element * (info & 0xFFFFFF)
    if at != end:
        raise CutOffError(offsets[-1], len(offsets) - 1)
    return TypeIndex(offsets, name_offs, array("Q", _sorted_names(name_offs, strings, str_start)))


def _sorted_names(name_offs: array[int], strings: bytes, str_start: int) -> list[int]:
    pieces = strings.split(b"\0")
    starts = accumulate((len(piece) + 1 for piece in pieces), initial=str_start)
    hashes = dict(zip(starts, map(crc32, pieces), strict=False))
    for piece, start in zip(
        pieces, accumulate((len(p) + 1 for p in pieces), initial=str_start), strict=False
    ):
        if b"___" in piece:
            hashes[start] = _hash(essential_name(piece.decode("utf-8", "surrogateescape")))
    keys = []
    for ordinal, name_off in enumerate(name_offs):
        if name_off > str_start or (name_off and name_off == str_start):
            known = hashes.get(name_off)
            if known is None:  # a name that is the tail of a longer string
                local = name_off - str_start
                tail = strings[local : strings.find(b"\0", local)]
                known = _hash(essential_name(tail.decode("utf-8", "surrogateescape")))
            keys.append(known << 32 | ordinal)
    keys.sort()
    return keys
