# SPDX-License-Identifier: Apache-2.0
"""The index over BTF: where each type stands, and which types carry a name.

Three flat arrays, so that an index can be written to a file and used again straight from a memory map
(:mod:`holdfast.kernels.cache` does that for kernels, whose BTF takes a tenth of a second to walk).
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

__all__ = ["MOST_NAMES", "CutOffError", "NamesError", "TypeIndex", "UnknownKindError", "essential_name"]

MOST_NAMES: Final = 256 << 20
"""Bytes of all names together. A kernel has 3 MB of them; but each type of a hostile file may be named by
another place in one string of megabytes."""

_HEADER: Final = struct.Struct("<8sII")
_MAGIC: Final = b"hfindex1"
_NATIVE: Final = "<" if sys.byteorder == "little" else ">"
_ODD: Final = (1, 1)  # the size of a kind that is not known: an impossible one


class CutOffError(Exception):
    """The type section ends inside a type; ``at`` is its offset in bytes, ``ordinal`` its place."""

    def __init__(self, at: int, ordinal: int) -> None:
        super().__init__(at, ordinal)
        self.at = at
        self.ordinal = ordinal


class NamesError(Exception):
    """The names of all types together have more than :data:`MOST_NAMES` bytes."""


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

    def all_ordinals(self, essential: str) -> list[int]:
        """The same in one go, for names of which there are hundreds."""
        wanted = _hash(essential) << 32
        first = bisect_left(self.by_name, wanted)
        end = bisect_left(self.by_name, wanted + (1 << 32), first)
        return [row & 0xFFFFFFFF for row in self.by_name[first:end]]

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
    :class:`~holdfast.btf.reader.Btf`. Raises :exc:`CutOffError` and :exc:`NamesError`.
    """
    words = array("I", data[start : end - (end - start) % 4])
    if order != _NATIVE:
        words.byteswap()
    offsets: list[int] = []
    add = offsets.append
    lengths: dict[int, int] = {}  # info -> words of such a type; a kernel has a few hundred different infos
    at = 0
    while at + 3 <= len(words):
        add(at)
        info = words[at + 1]
        try:
            at += lengths[info]
        except KeyError:
            number = (info >> 24) & 0x7F
            fixed, element = sizes.get(number, _ODD)
            if fixed % 4 or element % 4:  # every BTF type is aligned to 4 bytes
                raise UnknownKindError(start + 4 * at, len(offsets) - 1, number) from None
            lengths[info] = (12 + fixed + element * (info & 0xFFFFFF)) // 4
            at += lengths[info]
    if at > len(words):
        raise CutOffError(start + 4 * offsets[-1], len(offsets) - 1)
    if start + 4 * at != end:
        raise CutOffError(start + 4 * at, len(offsets))
    name_offs = array("I", [words[at] for at in offsets])
    places = array("I", [start + 4 * at for at in offsets])
    return TypeIndex(places, name_offs, array("Q", _sorted_names(name_offs, strings, str_start)))


def _sorted_names(name_offs: array[int], strings: bytes, str_start: int) -> list[int]:
    keys = []
    left = MOST_NAMES
    for ordinal, name_off in enumerate(name_offs):
        if name_off >= str_start and name_off:
            local = name_off - str_start
            name = strings[local : strings.find(b"\0", local)]
            left -= len(name)
            if left < 0:
                raise NamesError
            keys.append((_flavored_hash(name) if b"___" in name else crc32(name)) << 32 | ordinal)
    keys.sort()
    return keys


def _flavored_hash(name: bytes) -> int:
    return _hash(essential_name(name.decode("utf-8", "surrogateescape")))
