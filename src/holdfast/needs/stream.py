# SPDX-License-Identifier: Apache-2.0
"""A program's instruction stream as the verifier will see it, as far as the object alone tells."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Literal

from holdfast.elf.spec import ExternKind, MapOrigin, ObjectSpec, ProgramSpec, ReferenceKind
from holdfast.insn import Instruction
from holdfast.insn.instruction import CALL, PSEUDO_KFUNC_CALL
from holdfast.insn.values import MapAddress, Token, Watched

__all__ = ["KCONFIG_MAP", "known_references", "prepared", "read_frozen", "static_starts"]

KCONFIG_MAP = ".kconfig"


def prepared(program: ProgramSpec) -> tuple[Instruction, ...]:
    """The stream with kfunc calls marked as such; clang leaves ``call -1`` of a subprogram in their place."""
    insns = list(program.insns)
    for reference in program.references:
        if reference.kind is ReferenceKind.KFUNC_CALL:
            insns[reference.slot] = Instruction(CALL, 0, PSEUDO_KFUNC_CALL, 0, 0)
    return tuple(insns)


def known_references(spec: ObjectSpec, program: ProgramSpec) -> dict[int, int | Token | MapAddress]:
    """What relocation puts at each ``lddw``, when nothing is said about what the kernel has.

    Weak externs are unknown, CO-RE results are unknown, data sections are addresses that :func:`read_frozen`
    reads.
    """
    externs = {e.name: e for e in spec.externs}
    known: dict[int, int | Token | MapAddress] = {}
    for reference in program.references:
        match reference.kind:
            case ReferenceKind.MAP | ReferenceKind.SUBPROG_ADDRESS | ReferenceKind.JUMP_TABLE:
                known[reference.slot] = Token.NON_ZERO
            case ReferenceKind.MAP_VALUE:
                known[reference.slot] = MapAddress(reference.name, reference.offset)
            case ReferenceKind.EXTERN:
                extern = externs[reference.name]
                if extern.kind is ExternKind.KCONFIG:
                    known[reference.slot] = MapAddress(KCONFIG_MAP, extern.offset)
                else:
                    known[reference.slot] = Token.UNKNOWN if extern.weak else Token.NON_ZERO
    for slot, _ in program.core_relos:
        known[slot] = Token.UNKNOWN
    return known


def read_frozen(
    spec: ObjectSpec, kconfig: Callable[[int, int], int | Watched | None] | None = None
) -> Callable[[Hashable, int, int], int | Watched | None]:
    """A reader for frozen maps: ``.rodata`` as the file has it, ``.kconfig`` by ``kconfig(offset, size)``.

    Offsets and sizes are in bytes; None stands for a value that cannot be known.
    """
    order: Literal["little", "big"] = "little" if spec.byteorder == "little" else "big"
    contents: dict[Hashable, bytes] = {
        m.name: m.contents for m in spec.maps if m.origin is MapOrigin.RODATA and m.contents is not None
    }

    def read(name: Hashable, offset: int, size: int) -> int | Watched | None:
        if name == KCONFIG_MAP:
            return kconfig(offset, size) if kconfig else None
        data = contents.get(name)
        if data is None or not 0 <= offset <= len(data) - size:
            return None
        return int.from_bytes(data[offset : offset + size], order)

    return read


def static_starts(program: ProgramSpec) -> tuple[int, ...]:
    """First slots of static subprograms, which the verifier follows with the caller's registers."""
    return tuple(part.start for part in program.parts[1:] if not part.is_global)
