# SPDX-License-Identifier: Apache-2.0
"""What the kernels of a store have in common: every string once, every type once.

A pool is what its segments say, one after the other; each kernel that is added brings a segment with what the
pool did not have. Strings and types are numbered through all segments. String 0 is "", type 0 is void.

A pooled type refers to others by what is meant, not by what they look like in one kernel: ``struct
task_struct`` by its name, ``struct task_struct *`` as a pointer to that. So a type of one kernel is the very
same in the next, although the structures behind it grow. What is meant is a number too, its key: that of the
first pooled type that was meant so. A kernel says which types it has, in order (:mod:`.types`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holdfast.kernels.catalogue.numbers import Numbers, planes, signed, unplanes
from holdfast.kernels.catalogue.parts import QUICK, DamagedError, Parts, pack
from holdfast.kernels.catalogue.words import PLAIN, REFERENCE, STRING, Layout, content_hashes

__all__ = ["SEGMENT", "Additions", "Pool"]

SEGMENT: Final = "segment"


class Pool:
    """Strings and types of some segments, ready to be gathered from."""

    def __init__(self) -> None:
        self.strings: list[bytes] = [b""]
        self._waiting: list[Parts] = []  # segments whose types nobody has asked for
        self._columns: list[tuple[Layout, Numbers, Numbers]] = []
        self._bounds: list[int] = []  # how many strings there are at the end of each waiting segment
        self._joined: _Types | None = None
        self._types = 1

    def extend(self, blob: bytes) -> None:
        """One segment more. Raises :exc:`DamagedError`."""
        parts = Parts(blob, SEGMENT)
        text = parts["strings"]
        if text:
            if text[-1]:
                raise DamagedError("strings are cut off")
            self.strings += text[:-1].split(b"\0")
        self._waiting.append(parts)
        self._bounds.append(len(self.strings))
        self._joined = None

    @property
    def types(self) -> int:
        """How many there are, void counted. Raises :exc:`DamagedError`."""
        while self._waiting:
            self._read(self._waiting.pop(0), self._bounds.pop(0))
        return self._types

    def _read(self, parts: Parts, strings: int) -> None:
        layout = Layout.of(unplanes(parts["infos"]))
        words = np.zeros(len(layout.place), np.int64)
        words[layout.starts + 1] = layout.infos
        count = len(layout.infos)
        owner = self._types + np.repeat(np.arange(count), layout.lengths)
        for what, name in ((PLAIN, "plain"), (STRING, "names"), (REFERENCE, "references")):
            places, column = layout.places_of(what), unplanes(parts[name])
            if len(places) != len(column):
                raise DamagedError(f"{len(column)} {name} for {len(places)} places")
            if what == STRING:
                column = np.cumsum(signed(column))
                _inside(column, strings)
            elif what == REFERENCE:
                column = owner[places] - signed(column)
                _inside(column, self._types + count)
            words[places] = column
        shift = signed(unplanes(parts["keys"]))
        if len(shift) != count:
            raise DamagedError("keys are missing")
        keys = self._types + np.arange(count) - shift
        _inside(keys, self._types + count)
        self.add(layout, words, keys)

    def add(self, layout: Layout, words: Numbers, keys: Numbers) -> None:
        """Types that follow those that are there."""
        self._columns.append((layout, words, keys))
        self._types += len(layout.infos)
        self._joined = None

    def joined(self) -> _Types:
        """All types as flat arrays. Raises :exc:`DamagedError`."""
        if self.types and self._joined is None:
            void = np.zeros(1, np.int64)
            layout = Layout.joined([columns[0] for columns in self._columns])
            words = np.concatenate([void[:0], *(columns[1] for columns in self._columns)])
            keys = np.concatenate([void, *(columns[2] for columns in self._columns)])
            self._joined = _Types(layout, words, keys)
        assert self._joined is not None
        return self._joined


def _inside(numbers: Numbers, bound: int) -> None:
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < bound:
        raise DamagedError("a segment refers to what is not there")


class _Types:
    """Types of a pool. ``keys`` begins with void; the layout does not."""

    def __init__(self, layout: Layout, words: Numbers, keys: Numbers) -> None:
        self.layout, self.words, self.keys = layout, words, keys

    def hashes(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(of what is meant, by type from void on; of what is said, by type from 1 on)."""
        return content_hashes(self.layout, self.words, np.zeros(1, np.uint64))


class Additions:
    """A pool that grows: what one kernel brings is collected, to become a segment."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._first_string = len(pool.strings)
        self._ids = {string: number for number, string in enumerate(pool.strings)}
        self._new: list[tuple[Numbers, Numbers, Numbers]] = []
        self._first_type = pool.types
        meant, said = pool.joined().hashes()
        keys = pool.joined().keys
        self._by_meaning: dict[int, int] = {}
        for meaning, key in zip(meant.tolist(), keys.tolist(), strict=True):
            self._by_meaning.setdefault(meaning, key)
        self._by_content = {content: number for number, content in enumerate(said.tolist(), 1)}

    def string_ids(self, strings: Sequence[bytes]) -> Numbers:
        """The number of each string; those that are new are added in this order."""
        ids, pooled = self._ids, self.pool.strings
        found = np.empty(len(strings), np.int64)
        for at, string in enumerate(strings):
            number = ids.get(string)
            if number is None:
                number = ids[string] = len(pooled)
                pooled.append(string)
            found[at] = number
        return found

    def add(
        self,
        layout: Layout,
        words: Numbers,
        meant: NDArray[np.uint64],
        said: NDArray[np.uint64],
        base_keys: Numbers,
    ) -> tuple[Numbers, Numbers]:
        """(pooled type of each, keys of base and these); what is new is added. ``words`` has string numbers,
        ``meant`` begins with the base's.
        """
        own = meant[len(base_keys) :].tolist()
        numbers = np.empty(len(layout.infos), np.int64)
        keys = np.empty(len(layout.infos), np.int64)
        new: list[int] = []
        number = self.pool.types
        for at, (meaning, content) in enumerate(zip(own, said.tolist(), strict=True)):
            found = self._by_content.get(content)
            if found is None:
                found = self._by_content[content] = number
                number += 1
                new.append(at)
            numbers[at] = found
            keys[at] = self._by_meaning.setdefault(meaning, found)
        all_keys = np.concatenate([base_keys, keys])
        if new:
            chosen = np.zeros(len(layout.infos), bool)
            chosen[new] = True
            kept = np.repeat(chosen, layout.lengths)
            said_words = words.copy()
            references = layout.classes == REFERENCE
            said_words[references] = all_keys[words[references]]
            infos = layout.infos[chosen]
            self._new.append((infos, said_words[kept], keys[chosen]))
            self.pool.add(Layout.of(infos), said_words[kept], keys[chosen])
        return numbers, all_keys

    def segment(self, level: int = QUICK) -> bytes:
        """The blob with all that is new, compressed at this level."""
        empty = np.zeros(0, np.int64)
        infos, words, keys = (np.concatenate([empty, *(new[i] for new in self._new)]) for i in range(3))
        layout = Layout.of(infos)
        owner = self._first_type + np.repeat(np.arange(len(infos)), layout.lengths)
        names, references = layout.places_of(STRING), layout.places_of(REFERENCE)
        strings = self.pool.strings[self._first_string :]
        return pack(
            SEGMENT,
            {
                "strings": b"".join(string + b"\0" for string in strings),
                "infos": planes(infos),
                "keys": planes(self._first_type + np.arange(len(infos)) - keys),
                "plain": planes(words[layout.places_of(PLAIN)]),
                "names": planes(np.diff(words[names], prepend=0)),
                "references": planes(owner[references] - words[references]),
            },
            level,
        )
