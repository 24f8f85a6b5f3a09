# SPDX-License-Identifier: Apache-2.0
"""The ``BTF_SET8`` sets of an image: where they are, and what is in them.

A set is ``{u32 cnt, u32 flags, {u32 id, u32 KF_flags} pairs[cnt]}`` (struct btf_id_set8, 6.0, ab21d6063c01),
filled in by resolve_btfids and sorted by id. Symbols ``__BTF_ID__set8__NAME`` say where they are
(CONFIG_KALLSYMS_ALL in vmlinux, .symtab in modules). Where there are none, sets are known by their shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from holdfast.btf import Btf
from holdfast.btf.types import Kind
from holdfast.kernels.registered import flags
from holdfast.kernels.registered.result import SetEntry
from holdfast.kernels.registered.space import Space

__all__ = ["SET8_KFUNCS", "BtfNames", "IdNames", "RawSet", "named", "read_set", "shaped"]

SET8_KFUNCS: Final = 1  # BTF_SET8_KFUNCS in the header of a set (6.9, 79b47344bbc5)
_PREFIX: Final = "__BTF_ID__set8__"
_MOST: Final = 1000  # functions in a set; the largest seen has 62
_HEADER: Final = re.compile(rb"(?s)(?=[^\0][\0-\3]\0\0[\0\1]\0\0\0)")


class IdNames(Protocol):
    """What the ids of .BTF_ids mean."""

    def function(self, number: int) -> tuple[str, int] | None:
        """The name and the id, in the BTF that was given, of the FUNC that ``number`` stands for; None when
        it stands for something else."""


@dataclass(frozen=True, slots=True)
class RawSet:
    """A set as it stands in the image."""

    name: str
    address: int
    header: int
    entries: tuple[SetEntry, ...]
    unresolved: int
    """How many entries have id 0: resolve_btfids did not find these functions in BTF."""


class BtfNames:
    """Ids of one BTF. ``shift`` is added to those from ``first`` on: a module with ``.BTF.base`` numbers its
    own types behind that base, which is smaller than the kernel's (btf_relocate_id, 6.11)."""

    def __init__(self, btf: Btf, first: int = 0, shift: int = 0) -> None:
        self._btf = btf
        self._first = first
        self._shift = shift

    def function(self, number: int) -> tuple[str, int] | None:
        if number < self._first:
            return None
        number += self._shift
        if not 0 < number < len(self._btf) or self._btf.kind_number(number) != Kind.FUNC:
            return None
        return self._btf.name(number), number


def read_set(space: Space, address: int, ids: IdNames, name: str = "") -> RawSet | None:
    """The set at an address; None when what is there is none."""
    header = space.words(address, 2)
    if header is None or not header[0] <= _MOST or header[1] > SET8_KFUNCS:
        return None
    words = space.words(address + 8, 2 * header[0])
    if words is None:
        return None
    entries = []
    unresolved = 0
    last = 0
    for number, bits in zip(words[::2], words[1::2], strict=True):
        if number == 0:
            unresolved += 1
            continue
        found = ids.function(number)
        if found is None or number < last:
            return None
        last = number
        entries.append(SetEntry(found[0], found[1], bits, flags.names(bits)))
    return RawSet(name, address, header[1], tuple(entries), unresolved)


def named(space: Space, ids: IdNames) -> list[RawSet]:
    """All sets that symbols tell of, by address."""
    found = []
    for text, address in space.names.starting(_PREFIX):
        one = read_set(space, address, ids, text.removeprefix(_PREFIX))
        if one is not None:
            found.append(one)
    return found


def shaped(space: Space, parts: Iterable[tuple[int, bytes]], ids: IdNames) -> list[RawSet]:
    """All that have the shape of a set in some bytes, given as (address, bytes): at least one function, ids
    strictly ascending, no flag that nobody knows.

    A ``BTF_SET`` (count and ids only) can have it by accident only if its second id is 0 or 1.
    """
    found = []
    for base, data in parts:
        beyond = 0
        for match in _HEADER.finditer(data):
            at = match.start()
            if at % 4 or at < beyond:
                continue
            one = read_set(space, base + at, ids)
            if one is None or not one.entries or one.unresolved:
                continue
            numbers = [entry.type_id for entry in one.entries]
            if len(set(numbers)) == len(numbers) and all(entry.flags is not None for entry in one.entries):
                found.append(one)
                beyond = at + 8 + 8 * len(one.entries)
    return found
