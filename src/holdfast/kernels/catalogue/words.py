# SPDX-License-Identifier: Apache-2.0
"""BTF types as rows of 32-bit words, each of which is a plain number, a string or a reference to a type.

include/uapi/linux/btf.h: ``struct btf_type`` is three words (name, info, size or type), and what follows
depends on the kind that is in info.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holdfast.btf.types import Kind
from holdfast.kernels.catalogue.numbers import Numbers, mixed

__all__ = ["PLAIN", "REFERENCE", "STRING", "Layout", "content_hashes", "lengths"]

PLAIN: Final = 0
STRING: Final = 1
REFERENCE: Final = 2

_KINDS: Final = 128
_HEAD: Final = 3  # words
_WIDEST: Final = 3  # words after the head, or of one member
# Of the third word; the kinds that are not here have a size or nothing in it.
_REFERRING: Final = (
    Kind.PTR,
    Kind.TYPEDEF,
    Kind.VOLATILE,
    Kind.CONST,
    Kind.RESTRICT,
    Kind.FUNC,
    Kind.FUNC_PROTO,
    Kind.VAR,
    Kind.DECL_TAG,
    Kind.TYPE_TAG,
)
_FIXED: Final = {
    Kind.INT: (PLAIN,),
    Kind.ARRAY: (REFERENCE, REFERENCE, PLAIN),
    Kind.VAR: (PLAIN,),
    Kind.DECL_TAG: (PLAIN,),
}
_MEMBERS: Final = {
    Kind.STRUCT: (STRING, REFERENCE, PLAIN),
    Kind.UNION: (STRING, REFERENCE, PLAIN),
    Kind.ENUM: (STRING, PLAIN),
    Kind.FUNC_PROTO: (STRING, REFERENCE),
    Kind.DATASEC: (REFERENCE, PLAIN, PLAIN),
    Kind.ENUM64: (STRING, PLAIN, PLAIN),
}
# A type of these kinds is spoken of by its name, if it has one; all others by what they are made of.
_NAMED: Final = (
    Kind.INT,
    Kind.STRUCT,
    Kind.UNION,
    Kind.ENUM,
    Kind.FWD,
    Kind.TYPEDEF,
    Kind.FUNC,
    Kind.VAR,
    Kind.DATASEC,
    Kind.FLOAT,
    Kind.ENUM64,
)
_ROUNDS: Final = 64  # references that are followed from one nameless type to the next; kernels have up to 10

_fixed = np.zeros(_KINDS, np.int64)
_member = np.zeros(_KINDS, np.int64)
_third = np.zeros(_KINDS, np.uint8)
_class = np.zeros((_KINDS, _WIDEST), np.uint8)
_named = np.zeros(_KINDS, bool)
_named[list(_NAMED)] = True
_third[list(_REFERRING)] = REFERENCE
for _table, _count in (_FIXED, _fixed), (_MEMBERS, _member):
    for _kind, _classes in _table.items():
        _count[_kind] = len(_classes)
        _class[_kind, : len(_classes)] = _classes


def _kinds(infos: Numbers) -> Numbers:
    return (infos >> 24) & 0x7F


def lengths(infos: Numbers) -> Numbers:
    """How many words each type has, by the info word (``btf_type.info``: vlen in the low 24 bits)."""
    kinds = _kinds(infos)
    return _HEAD + _fixed[kinds] + _member[kinds] * (infos & 0xFFFFFF)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which word is what, of types with these info words, one after the other.

    ``starts`` and ``lengths`` by type, the others by word: ``column`` is one number for each kind and place
    in it (all members' names of structs have the same), ``place`` counts from the type's first word.
    """

    infos: Numbers
    starts: Numbers
    lengths: Numbers
    classes: NDArray[np.uint8]
    column: NDArray[np.uint16]
    place: Numbers

    @classmethod
    def of(cls, infos: Numbers) -> Layout:
        kinds = _kinds(infos)
        sizes = lengths(infos)
        starts = np.cumsum(sizes) - sizes
        place = np.arange(int(sizes.sum())) - np.repeat(starts, sizes)
        kind = np.repeat(kinds, sizes)
        turn = (place - _HEAD) % np.maximum(_fixed + _member, 1)[kind]
        classes = _class[kind, turn]
        column = (kind * 8 + _HEAD + turn).astype(np.uint16)
        for at, what in ((0, np.uint8(STRING)), (1, np.uint8(PLAIN)), (2, _third[kinds])):
            classes[starts + at] = what
            column[starts + at] = kinds * 8 + at
        return cls(infos, starts, sizes, classes, column, place)

    @classmethod
    def joined(cls, layouts: Sequence[Layout]) -> Layout:
        """Types of several layouts, one after the other."""
        if not layouts:
            return cls.of(np.zeros(0, np.int64))
        at = np.cumsum([0, *(len(one.place) for one in layouts)])
        return cls(
            np.concatenate([one.infos for one in layouts]),
            np.concatenate([one.starts + begin for one, begin in zip(layouts, at, strict=False)]),
            np.concatenate([one.lengths for one in layouts]),
            np.concatenate([one.classes for one in layouts]),
            np.concatenate([one.column for one in layouts]),
            np.concatenate([one.place for one in layouts]),
        )

    def places_of(self, what: int) -> Numbers:
        """Words of this class, column by column; info words, which are kept apart, are left out."""
        places = np.flatnonzero((self.classes == what) & (self.place != 1))
        return places[np.argsort(self.column[places], kind="stable")]


def content_hashes(
    layout: Layout, words: Numbers, base: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(hash of what others mean by the type, hash of all it says), by type, the first after ``base``'s.

    Strings in ``words`` are numbers that mean the same string wherever they are compared; references count
    from 0, which is void, through ``base``, to the types of the layout. Both hashes are equal for types that
    are equal but for where they stand; one that is unlike another by chance costs bytes and nothing else.
    """
    count = len(layout.infos)
    kinds = _kinds(layout.infos)
    names = words[layout.starts] if count else words
    named = _named[kinds] & (names != 0)
    by_name = mixed(mixed(kinds.astype(np.uint64) + np.uint64(77)) ^ mixed(names.astype(np.uint64)))
    own = mixed(
        mixed(words.astype(np.uint64)) + layout.place.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    )
    own[layout.classes == REFERENCE] = 0
    at = np.flatnonzero(layout.classes == REFERENCE)
    references = words[at]
    salt = layout.place[at].astype(np.uint64) * np.uint64(0xC4CEB9FE1A85EC53)
    owner = np.repeat(np.arange(count), layout.lengths)[at]
    ends = np.cumsum(np.bincount(owner, minlength=count)) if count else np.zeros(0, np.int64)
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if count else ends
    plain = np.add.reduceat(own, layout.starts) if count else own
    meant = np.concatenate([base, np.zeros(count, np.uint64)])
    content = plain
    for _ in range(_ROUNDS):
        sums = np.concatenate(
            [np.zeros(1, np.uint64), np.cumsum(mixed(meant[references] + salt), dtype=np.uint64)]
        )
        content = mixed(plain + (sums[ends] - sums[begins]))
        now = np.where(named, by_name, content)
        if np.array_equal(now, meant[len(base) :]):
            break
        meant[len(base) :] = now
    return meant, content
