# SPDX-License-Identifier: Apache-2.0
"""Our reading of an object in the shape of libbpf's, so that ``==`` compares the two."""

from __future__ import annotations

from tests.oracle.elf.libbpfview import LibbpfMap, LibbpfProgram

from holdfast.elf import MapSpec, ObjectSpec, ProgramSpec
from holdfast.elf.spec import ReferenceKind
from holdfast.insn import Instruction

__all__ = ["differences", "maps", "programs"]

LDDW = 0x18


def programs(spec: ObjectSpec) -> tuple[LibbpfProgram, ...]:
    """As libbpf has them before it relocates: the main function's instructions alone.

    The linker has written the distance of calls into ours; the file's own stands in the comparison of
    :func:`differences`.
    """
    return tuple(
        LibbpfProgram(p.name, p.section, int(p.type), int(p.attach_type or 0), p.autoload, ())
        for p in spec.programs
    )


def maps(spec: ObjectSpec) -> tuple[LibbpfMap, ...]:
    return tuple(_map(one) for one in spec.maps)


def _map(spec: MapSpec, is_inner: bool = False) -> LibbpfMap:
    return LibbpfMap(
        spec.name,
        int(spec.type),
        spec.key_size,
        spec.value_size,
        spec.max_entries,
        spec.flags,
        spec.map_extra,
        spec.numa_node,
        spec.key_type_id,
        spec.value_type_id,
        _map(spec.inner, is_inner=True) if spec.inner else None,
        spec.autocreate and not is_inner,
        spec.is_internal,
        bool(spec.pinning),
    )


def differences(program: ProgramSpec, theirs: tuple[Instruction, ...]) -> tuple[list[str], int]:
    """(what differs, slots compared) between our linked stream and libbpf's relocated one.

    Left out is what only the kernel tells: results of CO-RE, descriptors of maps, BTF ids of kfuncs and
    ksyms.
    """
    ours = program.insns
    if len(ours) != len(theirs):
        return [f"{program.name}: {len(ours)} instructions, libbpf has {len(theirs)}"], 0
    skipped = {slot for slot, _ in program.core_relos}
    skipped |= {slot + 1 for slot in skipped if ours[slot].opcode == LDDW}
    offsets: dict[int, int] = {}
    for row in program.references:
        match row.kind:
            case ReferenceKind.SUBPROG_CALL | ReferenceKind.SUBPROG_ADDRESS:
                continue
            case ReferenceKind.MAP_VALUE:
                offsets[row.slot + 1] = row.offset
                skipped.add(row.slot)
            case ReferenceKind.KFUNC_CALL:
                skipped.add(row.slot)
            case _:
                skipped |= {row.slot, row.slot + 1}
    found = []
    compared = 0
    for slot, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if slot in skipped:
            continue
        compared += 1
        if slot in offsets:
            if other.imm & 0xFFFFFFFF != offsets[slot] & 0xFFFFFFFF:
                found.append(f"{program.name}[{slot}]: offset {offsets[slot]}, libbpf has {other.imm}")
        elif mine != other:
            found.append(f"{program.name}[{slot}]: {mine}, libbpf has {other}")
    return found, compared
