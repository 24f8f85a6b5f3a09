# SPDX-License-Identifier: Apache-2.0
"""The CO-RE relocations of one program on one kernel, and what of them can matter to its verdict.

Offsets of fields differ from build to build; whether there is such a field, and with which width it is read,
seldom does. :attr:`Resolved.key` leaves the plain offsets out, so that kernels that differ in nothing else
are judged once. What a relocation becomes is kept by what the kernel says of its access, for all kernels that
say the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from holdfast.btf.ext import CoreRelo, CoreReloKind
from holdfast.elf.spec import ObjectSpec
from holdfast.insn.instruction import Opclass
from holdfast.insn.values import Token
from holdfast.relo.resolve import Relocator, Resolution

__all__ = ["Profile", "Relocations", "Resolved", "Row"]

_MEMORY: Final = frozenset((Opclass.LDX, Opclass.ST, Opclass.STX))
_IDS: Final = frozenset((CoreReloKind.TYPE_ID_LOCAL, CoreReloKind.TYPE_ID_TARGET))
SUBPROGS: Final = -1
"""Stands for all functions that are relocated with any program."""
UNSETTLED: Final = -1
"""Stands for what a relocation becomes where those before it count too."""


@dataclass(frozen=True, slots=True)
class Row:
    """One relocation. ``key`` is what it can mean for a verdict and ``stream`` what of that is in the
    instructions; ``offset`` the displacement in bytes that it gives a load or store, None for other
    instructions; ``number`` what the analysis of live code may know of the immediate: None where it is the
    one that is patched in.
    """

    resolution: Resolution
    key: Hashable
    stream: Hashable
    offset: int | None = None
    number: Token | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Relocations of some functions: place -> row, and those that depend on others before them."""

    rows: Mapping[int, int]
    unsettled: tuple[int, ...]
    key: Hashable
    stream: Hashable


@dataclass(eq=False)
class Resolved:
    """All relocations of a program on one kernel, or on several where they come out the same.

    ``number`` is the program's place in the object. ``key`` is equal for kernels on which they mean the same
    for a verdict, ``stream`` for those on which the instructions mean the same.
    """

    number: int
    key: Hashable
    stream: Hashable
    _relocations: Relocations
    _rows: Mapping[int, int]  # place of the relocation -> its row

    @cached_property
    def rows(self) -> dict[int, Row]:
        """Slot of the program's stream -> row."""
        return self._sorted[0]

    @cached_property
    def refused(self) -> tuple[tuple[int, int, Row], ...]:
        """Those at which libbpf stops: (function, slot in it, row)."""
        return self._sorted[1]

    @cached_property
    def _sorted(self) -> tuple[dict[int, Row], tuple[tuple[int, int, Row], ...]]:
        rows: dict[int, Row] = {}
        refused: list[tuple[int, int, Row]] = []
        spec = self._relocations.spec
        starts = {part.function: part.start for part in spec.programs[self.number].parts}
        for index in sorted(self._rows):
            one = spec.core_relos[index]
            row = self._relocations.rows[self._rows[index]]
            if row.resolution.error:
                refused.append((one.function, one.slot, row))
            elif one.function in starts:
                rows[starts[one.function] + one.slot] = row
        return rows, tuple(refused)

    def offsets_at(self, slots: tuple[int, ...]) -> tuple[int | None, ...]:
        """The displacements that relocations give the loads and stores at these slots."""
        rows = self.rows
        return tuple([rows[slot].offset if slot in rows else None for slot in slots])


class Profile:
    """What some kernels make of an object's relocations, the plain offsets included."""

    def __init__(self, relocations: Relocations, contents: tuple[int, ...]) -> None:
        self._relocations = relocations
        self._contents = contents
        self._groups: dict[int, _Group] = {}
        self._resolved: dict[int, Resolved] = {}

    def resolved(self, number: int, relocator: Relocator | None) -> Resolved:
        """Every relocation that libbpf applies when the program of that number alone is loaded.

        Subprograms are relocated whether the program reaches them or not, so one there can stop the object.
        ``relocator`` is that of a kernel with this profile.
        """
        found = self._resolved.get(number)
        if found is not None:
            return found
        relocations, parts = self._relocations, self._relocations.spec.programs[number].parts
        if relocator is None or not parts:
            found = self._resolved[number] = Resolved(number, (), (), relocations, {})
            return found
        groups = [self._group(function, relocator) for function in (SUBPROGS, parts[0].function)]
        rows = {**groups[0].rows, **groups[1].rows}
        key: list[Hashable] = [group.key for group in groups]
        stream: list[Hashable] = [group.stream for group in groups]
        unsettled = sorted([*groups[0].unsettled, *groups[1].unsettled])
        if not unsettled:
            found = self._resolved[number] = Resolved(number, tuple(key), tuple(stream), relocations, rows)
            return found
        again = relocator.restart()
        for index in unsettled:
            row = rows[index] = relocations.resolve(again, index)
            key.append((index, relocations.keys[row]))
            stream.append((index, relocations.streams[row]))
        return Resolved(number, tuple(key), tuple(stream), relocations, rows)

    def _group(self, function: int, relocator: Relocator) -> _Group:
        group = self._groups.get(function)
        if group is not None:
            return group
        relocations, contents = self._relocations, self._contents
        rows: dict[int, int] = {}
        unsettled: list[int] = []
        for index in relocations.groups.get(function, ()):
            content = contents[relocations.access_of[index]]
            if content == UNSETTLED:
                unsettled.append(index)
            else:
                rows[index] = relocations.settled(index, content, relocator)
        keys = tuple([relocations.keys[row] for row in rows.values()])
        streams = tuple([relocations.streams[row] for row in rows.values()])
        number = relocations.number
        group = _Group(rows, tuple(unsettled), number(keys), number(streams))
        self._groups[function] = group
        return group


class Relocations:
    """The relocations of one object, and what becomes of them on the kernels seen so far."""

    def __init__(self, spec: ObjectSpec) -> None:
        self.spec = spec
        self.rows: list[Row] = []
        """Each that was seen; a row's number is its place."""
        self.keys: list[int] = []
        """By number of the row: a number for its key."""
        self.streams: list[int] = []
        """By number of the row: a number for its stream."""
        self.groups: dict[int, list[int]] = {}
        """Places of the relocations of each function that begins programs, and of all that do not."""
        self.access_of: list[int] = []
        """By place: a number for what is accessed."""
        self._accesses: list[CoreRelo] = []
        self._by_content: dict[tuple[int, int], int] = {}
        self._numbers: dict[Hashable, int] = {}
        self._profiles: dict[tuple[int, ...], Profile] = {}
        numbers: dict[Hashable, int] = {}
        for index, one in enumerate(spec.core_relos):
            self.groups.setdefault(SUBPROGS if one.is_subprog else one.function, []).append(index)
            access = (one.relo.type_id, one.relo.access, int(one.relo.kind))
            number = numbers.setdefault(access, len(numbers))
            if number == len(self._accesses):
                self._accesses.append(one.relo)
            self.access_of.append(number)

    def profile(self, relocator: Relocator | None) -> Profile:
        """What the kernel of ``relocator`` makes of them; None stands for a side without BTF."""
        contents: tuple[int, ...] = ()
        if relocator is not None:
            settled, number = relocator.settled, self.number
            contents = tuple([number(settled(relo)) for relo in self._accesses])
        profile = self._profiles.get(contents)
        if profile is None:
            profile = self._profiles[contents] = Profile(self, contents)
        return profile

    def number(self, content: Hashable) -> int:
        """A number for a value, the same for equal ones; :data:`UNSETTLED` for None."""
        return UNSETTLED if content is None else self._numbers.setdefault(content, len(self._numbers))

    def settled(self, index: int, content: int, relocator: Relocator) -> int:
        """The row of a relocation that comes out as ``content``, as on the kernel of ``relocator``."""
        row = self._by_content.get((index, content))
        if row is None:
            row = self._by_content[index, content] = self.resolve(relocator, index)
        return row

    def resolve(self, relocator: Relocator, index: int) -> int:
        """The row of a relocation after those that ``relocator`` has resolved."""
        one = self.spec.core_relos[index]
        row = _row(relocator.resolve(one.relo, one.insn, one.following))
        self.rows.append(row)
        self.keys.append(self.number(("key", row.key)))
        self.streams.append(self.number(("stream", row.stream)))
        return len(self.rows) - 1


def _row(found: Resolution) -> Row:
    if found.error:
        return Row(found, ("stops", found.error.message, found.spec), "stops")
    if found.poison:
        return Row(found, ("poison", found.spec, found.missing, found.warning), "poison")
    insn = found.patched[0]
    if insn.opcode & 0x07 in _MEMORY:
        return _plain(found, (insn.opcode, insn.imm), offset=insn.off)
    if found.relo.kind == CoreReloKind.FIELD_BYTE_OFFSET:
        return _plain(found, insn.opcode, number=Token.UNKNOWN)
    if found.relo.kind in _IDS and found.value:
        return _plain(found, insn.opcode, number=Token.NON_ZERO)
    return _plain(found, found.patched)


def _plain(found: Resolution, key: Hashable, offset: int | None = None, number: Token | None = None) -> Row:
    return Row(found, key, key, offset, number)
