# SPDX-License-Identifier: Apache-2.0
"""Raw BTF to pooled strings and types, and back byte for byte.

What is left of a kernel's BTF when its strings and types are in the pool is their order, and which type a
reference leads to where several are meant alike (two ``struct foo`` that differ). Both compress to little
when they are told by their difference to a kernel that is like it.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from holdfast.btf import Btf
from holdfast.btf.index import TypeIndex, essential_name
from holdfast.kernels.catalogue.numbers import Numbers
from holdfast.kernels.catalogue.parts import DamagedError
from holdfast.kernels.catalogue.pool import Additions, Pool
from holdfast.kernels.catalogue.words import REFERENCE, STRING, Layout, content_hashes

__all__ = ["Base", "Decoded", "Odd", "Order", "decode", "encode", "index_of"]

_HEADER: Final = struct.Struct("<HBBIIIII")


class Odd(Exception):
    """BTF that cannot be told by a pool: big-endian, or not as pahole writes it. It is stored as it is."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is a kernel's or module's own: the order of its pooled strings and types, the types that
    references lead to where what is meant does not tell (as a place among those that are meant alike), and
    the bytes before the types, between types and strings, and after the strings.
    """

    strings: Numbers
    types: Numbers
    choices: Numbers
    frame: tuple[bytes, bytes, bytes]


@dataclass(slots=True)
class Base:
    """What split BTF goes on from: nothing, or vmlinux. ``keys`` by type id, void's too; ``offsets`` by
    pooled string, -1 where it is not in. For encoding alone: ``meant`` by type id, ``string_ids`` by string
    offset.
    """

    keys: Numbers = field(default_factory=lambda: np.zeros(1, np.int64))
    offsets: Numbers = field(default_factory=lambda: np.full(1, -1, np.int64))
    size: int = 0
    meant: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(1, np.uint64))
    string_ids: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))


def _frame_of(data: bytes) -> tuple[int, int, int, int]:
    """Where types and strings begin and end. Raises :exc:`Odd`."""
    if len(data) < _HEADER.size:
        raise Odd("too short")
    magic, _, _, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
    types, strings = header + type_off, header + str_off
    if (
        magic != 0xEB9F
        or types % 4
        or type_len % 4
        or not types + type_len <= strings <= strings + str_len <= len(data)
    ):
        raise Odd("no sections one after the other, or of the other byte order")
    return types, types + type_len, strings, strings + str_len


def encode(data: bytes, btf: Btf, additions: Additions, base: Base) -> tuple[Order, Base]:
    """What is this BTF's own, and it as a base; what it has in common goes to ``additions``.

    Raises :exc:`Odd`. Whoever calls makes sure that :func:`decode` gives the same bytes.
    """
    first, last, text, end = _frame_of(data)
    raw = np.frombuffer(data, "<u4", (last - first) // 4, first).astype(np.int64)
    starts = (np.array(btf.index.offsets, np.int64) - first) // 4
    layout = Layout.of(raw[starts + 1])
    if not np.array_equal(layout.starts, starts) or len(layout.place) != len(raw):
        raise Odd("a kind of type that is not known")
    strings = data[text:end].split(b"\0")
    if strings.pop():
        raise Odd("strings that are cut off")
    ids = additions.string_ids(strings)
    sizes = np.fromiter(map(len, strings), np.int64, len(strings)) + 1
    offsets = base.size + np.cumsum(sizes) - sizes
    at_offset = np.full(base.size + (end - text) + 1, -1, np.int64)
    at_offset[: len(base.string_ids)] = base.string_ids
    at_offset[offsets] = ids
    words = raw.copy()
    names = layout.classes == STRING
    _within(raw[names], len(at_offset), "a name outside the strings")
    words[names] = at_offset[raw[names]]
    if (words[names] < 0).any():
        raise Odd("a name that begins inside a string")
    references = layout.classes == REFERENCE
    _within(raw[references], len(base.keys) + len(starts), "a reference to no type")
    meant, said = content_hashes(layout, words, base.meant)
    types, keys = additions.add(layout, words, meant, said, base.keys)
    choices = _Alike(keys).choices(raw[references])
    frame = data[:first], data[last:text], data[end:]
    whole = Base(keys, base.offsets, base.size + end - text, meant, at_offset[:-1])
    return Order(ids, types, choices, frame), whole


def _within(numbers: Numbers, bound: int, problem: str) -> None:
    if len(numbers) and int(numbers.max()) >= bound:
        raise Odd(problem)


class _Alike:
    """Types that are meant alike, by their keys."""

    def __init__(self, keys: Numbers) -> None:
        self._keys = keys
        self._count = np.bincount(keys)
        several = np.flatnonzero(self._count[keys] > 1)
        self._ids = several[np.argsort(keys[several], kind="stable")]  # ids with one key are neighbours
        self._sorted = keys[self._ids]

    def choices(self, references: Numbers) -> Numbers:
        """The place of each among those that are meant alike, where there are several."""
        place = np.zeros(len(self._keys), np.int64)
        place[self._ids] = np.arange(len(self._ids)) - np.searchsorted(self._sorted, self._sorted)
        return place[references[self._count[self._keys[references]] > 1]]

    def resolve(self, meant: Numbers, choices: Numbers) -> Numbers:
        """The ids of the types that are meant by these keys."""
        by_key = np.full(len(self._count), -1, np.int64)
        by_key[self._keys] = np.arange(len(self._keys))
        _inside(meant, len(by_key))
        ids = by_key[meant]
        open_ = self._count[meant] > 1
        if int(open_.sum()) != len(choices):
            raise DamagedError("choices are missing")
        if len(choices):
            at = np.searchsorted(self._sorted, meant[open_]) + choices
            _inside(at, len(self._ids))
            ids[open_] = self._ids[at]
        _inside(ids, len(self._keys))
        return ids


def _inside(numbers: Numbers, bound: int) -> None:
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < bound:
        raise DamagedError("a number is out of bounds")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Raw BTF, and what an index over it needs: ``starts`` of the types in bytes, ``name_ids``, the pooled
    string of each type's name. ``as_base`` is for decoding alone.
    """

    data: bytes
    starts: Numbers
    name_ids: Numbers
    as_base: Base


def decode(order: Order, pool: Pool, base: Base) -> Decoded:
    """The BTF that :func:`encode` was given. Raises :exc:`DamagedError`."""
    types = pool.joined()
    _inside(order.strings, len(pool.strings))
    _inside(order.types, pool.types)
    pooled = pool.strings
    strings = [pooled[number] for number in order.strings.tolist()]
    text = b"\0".join([*strings, b""]) if strings else b""
    sizes = np.fromiter(map(len, strings), np.int64, len(strings)) + 1
    offsets = np.full(len(pooled), -1, np.int64)
    offsets[order.strings] = base.size + np.cumsum(sizes) - sizes
    known = base.offsets >= 0
    offsets[: len(base.offsets)][known] = base.offsets[known]
    chosen = order.types - 1
    layout = types.layout
    sizes = layout.lengths[chosen]
    starts = np.cumsum(sizes) - sizes
    gathered = np.repeat(layout.starts[chosen] - starts, sizes) + np.arange(int(sizes.sum()))
    words, classes = types.words[gathered], layout.classes[gathered]
    names = classes == STRING
    name_ids = words[starts]
    words[names] = offsets[words[names]]
    if (words[names] < 0).any():
        raise DamagedError("a string is missing")
    references = classes == REFERENCE
    keys = np.concatenate([base.keys, types.keys[order.types]])
    words[references] = _Alike(keys).resolve(words[references], order.choices)
    before, between, after = order.frame
    data = b"".join([before, words.astype("<u4").tobytes(), between, text, after])
    whole = Base(keys, offsets, base.size + len(text))
    return Decoded(data, len(before) + 4 * starts, name_ids, whole)


def index_of(found: Decoded, pooled: Sequence[bytes]) -> TypeIndex:
    """The index that :class:`~holdfast.btf.Btf` would make of it by itself, sooner. Not for split BTF."""
    numbers = np.unique(found.name_ids[found.name_ids != 0])
    hashes = np.zeros(len(pooled), np.uint64)
    names = [pooled[number] for number in numbers.tolist()]
    hashes[numbers] = np.fromiter(map(crc32, names), np.uint64, len(names))
    for number, name in zip(numbers.tolist(), names, strict=True):
        if b"___" in name:
            hashes[number] = _flavoured_hash(name)
    named = np.flatnonzero(found.name_ids)
    keys = np.sort(hashes[found.name_ids[named]] << np.uint64(32) | named.astype(np.uint64))
    words = np.frombuffer(found.data, "<u4", len(found.data) // 4)
    return TypeIndex(
        array("I", found.starts.astype("=u4").tobytes()),
        array("I", words[found.starts // 4].astype("=u4").tobytes()),
        array("Q", keys.tobytes()),
    )


def _flavoured_hash(name: bytes) -> int:
    return crc32(essential_name(name.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"))
