# SPDX-License-Identifier: Apache-2.0
"""The CO-RE relocations of one program on one kernel, and what of them can matter to its verdict.

Offsets of fields differ from build to build; whether there is such a field, and with which width it is read,
seldom does. :attr:`Resolved.key` leaves the plain offsets out, so that kernels that differ in nothing else
are judged once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from holdfast.btf.ext import CoreReloKind
from holdfast.elf.spec import ProgramSpec
from holdfast.insn.instruction import Opclass
from holdfast.insn.values import Token
from holdfast.predict.context import Loaded
from holdfast.relo.resolve import Resolution

__all__ = ["Resolved", "Row", "resolve_program"]

_MEMORY: Final = frozenset((Opclass.LDX, Opclass.ST, Opclass.STX))
_IDS: Final = frozenset((CoreReloKind.TYPE_ID_LOCAL, CoreReloKind.TYPE_ID_TARGET))


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
class Resolved:
    """All relocations of a program: slot of its stream -> row, and those at which libbpf stops."""

    rows: Mapping[int, Row]
    refused: tuple[tuple[int, int, Row], ...]
    """(function, slot in it, row)"""

    @cached_property
    def key(self) -> Hashable:
        """Equal for kernels on which these relocations mean the same."""
        return (
            tuple(row.key for row in self.rows.values()),
            tuple((function, slot, row.key) for function, slot, row in self.refused),
        )

    def offsets_at(self, slots: tuple[int, ...]) -> tuple[int | None, ...]:
        """The displacements that relocations give the loads and stores at these slots."""
        return tuple(self.rows[slot].offset if slot in self.rows else None for slot in slots)


def resolve_program(loaded: Loaded, program: ProgramSpec) -> Resolved:
    """Every relocation that libbpf applies when this program alone is loaded.

    Subprograms are relocated whether the program reaches them or not, so one there can stop the object.
    """
    rows: dict[int, Row] = {}
    refused: list[tuple[int, int, Row]] = []
    if loaded.relocator is None or not program.parts:
        return Resolved(rows, ())
    starts = {part.function: part.start for part in program.parts}
    main = program.parts[0].function
    relocator = loaded.relocator.restart()
    for index, one in enumerate(loaded.spec.core_relos):
        if not one.is_subprog and one.function != main:
            continue
        row = loaded.rows.get(index)
        if row is None:
            row = _row(relocator.resolve(one.relo, one.insn, one.following))
            if not relocator.order_matters(one.relo):
                loaded.rows[index] = row
        if row.resolution.error:
            refused.append((one.function, one.slot, row))
        elif one.function in starts:
            rows[starts[one.function] + one.slot] = row
    return Resolved(rows, tuple(refused))


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
