# SPDX-License-Identifier: Apache-2.0
"""The CO-RE relocations of one program on one kernel, and what of them can matter to its verdict.

Offsets of fields differ from build to build; whether there is such a field, and with which width it is read,
seldom does. :attr:`Resolved.key` leaves the plain offsets out, so that kernels that differ in nothing else
are judged once. What a relocation becomes is kept by what the kernel says of its access, for all kernels that
say the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from holdfast.btf.ext import CoreReloKind
from holdfast.elf.spec import ObjectSpec, ProgramSpec
from holdfast.insn.instruction import Opclass
from holdfast.insn.values import Token
from holdfast.predict.context import Loaded
from holdfast.relo.resolve import Relocator, Resolution

__all__ = ["Relocations", "Resolved", "Row", "resolve_program"]

_MEMORY: Final = frozenset((Opclass.LDX, Opclass.ST, Opclass.STX))
_IDS: Final = frozenset((CoreReloKind.TYPE_ID_LOCAL, CoreReloKind.TYPE_ID_TARGET))
_SUBPROGS: Final = -1  # stands for all functions that are relocated with any program


@dataclass(frozen=True, slots=True)
class Row:
    """One relocation. ``key`` is what it can mean for a verdict; ``offset`` the displacement in bytes that it
    gives a load or store, None for other instructions; ``number`` what the analysis of live code may know of
    the immediate: None where it is the one that is patched in.
    """

    resolution: Resolution
    key: Hashable
    offset: int | None = None
    number: Token | None = None


@dataclass(eq=False)
class Relocations:
    """The relocations of one object, and what becomes of them on the kernels seen so far."""

    spec: ObjectSpec
    rows: list[Row] = field(default_factory=list)
    """Each that was seen; a row's number is its place."""
    keys: list[int] = field(default_factory=list)
    """By number of the row: a number for its key."""
    _by_found: dict[tuple[int, Hashable], int] = field(default_factory=dict)
    _key_numbers: dict[Hashable, int] = field(default_factory=dict)

    @cached_property
    def groups(self) -> dict[int, list[int]]:
        """Places of the relocations of each function that begins programs, and of all that do not."""
        found: dict[int, list[int]] = {}
        for index, one in enumerate(self.spec.core_relos):
            found.setdefault(_SUBPROGS if one.is_subprog else one.function, []).append(index)
        return found

    def settle(self, relocator: Relocator, index: int) -> int | None:
        """The row of a relocation on the kernel of ``relocator``; None where those before it count too."""
        one = self.spec.core_relos[index]
        found = relocator.settled(one.relo)
        if found is None:
            return None
        number = self._by_found.get((index, found))
        if number is None:
            number = self._by_found[index, found] = self.resolve(relocator, index)
        return number

    def resolve(self, relocator: Relocator, index: int) -> int:
        """The row of a relocation after those that ``relocator`` has resolved."""
        one = self.spec.core_relos[index]
        row = _row(relocator.resolve(one.relo, one.insn, one.following))
        self.rows.append(row)
        self.keys.append(self._key_numbers.setdefault(row.key, len(self._key_numbers)))
        return len(self.rows) - 1


@dataclass(eq=False)
class Resolved:
    """All relocations of a program on one kernel. ``key`` is equal for kernels on which they mean the
    same.
    """

    key: Hashable
    _relocations: Relocations
    _program: ProgramSpec
    _numbers: Mapping[int, int]  # place of the relocation -> its row

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
        starts = {part.function: part.start for part in self._program.parts}
        for index in sorted(self._numbers):
            one = self._relocations.spec.core_relos[index]
            row = self._relocations.rows[self._numbers[index]]
            if row.resolution.error:
                refused.append((one.function, one.slot, row))
            elif one.function in starts:
                rows[starts[one.function] + one.slot] = row
        return rows, tuple(refused)

    def offsets_at(self, slots: tuple[int, ...]) -> tuple[int | None, ...]:
        """The displacements that relocations give the loads and stores at these slots."""
        return tuple(self.rows[slot].offset if slot in self.rows else None for slot in slots)


def resolve_program(loaded: Loaded, program: ProgramSpec, relocations: Relocations) -> Resolved:
    """Every relocation that libbpf applies when this program alone is loaded.

    Subprograms are relocated whether the program reaches them or not, so one there can stop the object.
    """
    numbers: dict[int, int] = {}
    if loaded.relocator is None or not program.parts:
        return Resolved((), relocations, program, numbers)
    key: list[Hashable] = []
    unsettled: list[int] = []
    for function in (_SUBPROGS, program.parts[0].function):
        group = loaded.settled.get(function)
        if group is None:
            group = loaded.settled[function] = _group(loaded.relocator, relocations, function)
        numbers.update(group.numbers)
        unsettled += group.unsettled
        key.append(group.key)
    if unsettled:
        relocator = loaded.relocator.restart()
        for index in sorted(unsettled):
            number = numbers[index] = relocations.resolve(relocator, index)
            key.append((index, relocations.keys[number]))
    return Resolved(tuple(key), relocations, program, numbers)


@dataclass(frozen=True, slots=True)
class Group:
    """Relocations of some functions on one kernel: place -> row, and those that depend on others."""

    numbers: Mapping[int, int]
    unsettled: tuple[int, ...]
    key: Hashable


def _group(relocator: Relocator, relocations: Relocations, function: int) -> Group:
    numbers: dict[int, int] = {}
    unsettled: list[int] = []
    for index in relocations.groups.get(function, ()):
        number = relocations.settle(relocator, index)
        if number is None:
            unsettled.append(index)
        else:
            numbers[index] = number
    keys = relocations.keys
    return Group(numbers, tuple(unsettled), tuple([keys[number] for number in numbers.values()]))


def _row(found: Resolution) -> Row:
    if found.error:
        return Row(found, ("stops", found.error.message, found.spec))
    if found.poison:
        return Row(found, ("poison", found.spec, found.missing, found.warning))
    insn = found.patched[0]
    if insn.opcode & 0x07 in _MEMORY:
        return Row(found, (insn.opcode, insn.imm), offset=insn.off)
    if found.relo.kind == CoreReloKind.FIELD_BYTE_OFFSET:
        return Row(found, insn.opcode, number=Token.UNKNOWN)
    if found.relo.kind in _IDS and found.value:
        return Row(found, insn.opcode, number=Token.NON_ZERO)
    return Row(found, found.patched)
