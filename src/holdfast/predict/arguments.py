# SPDX-License-Identifier: Apache-2.0
"""What a program reads from its context, held against the prototype of its target in this kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Func, FuncProto, Kind, Ptr, Struct
from holdfast.elf.spec import ProgramSpec
from holdfast.insn.instruction import Opclass
from holdfast.kernels.facts import KernelFacts
from holdfast.needs.model import TargetKind
from holdfast.needs.targets import attach_target
from holdfast.predict.context import Loaded
from holdfast.predict.relocated import Relocated
from holdfast.predict.struct_ops import kernel_struct
from holdfast.predict.targets import target_function
from holdfast.rules import arguments
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.terms import AttachType, ProgramType

__all__ = ["refused_accesses"]

_MOVE: Final = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_ADD: Final = 0x07  # BPF_ALU64 | BPF_ADD | BPF_K


def refused_accesses(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated
) -> Iterator[tuple[Ruling, list[int]]]:
    """Rulings that are no plain yes, each with the slots of the live loads and stores that it is about."""
    prototype = _prototype(loaded, program)
    context = None if prototype else loaded.facts.work(_starts_and_size, program.type)
    # Where relocation moves an access, what is found here must say whether it is one of the context.
    moved = context is not None and any(row.offset is not None for row in relocated.resolved.rows.values())
    suspicious = moved or _holds_context(relocated) or _reads_far(program, relocated, context)
    if prototype is None and not suspicious:
        return
    found: dict[Ruling, list[int]] = {}
    for slot, load in relocated.reached.context_loads.items():
        ruling = loaded.facts.rule(arguments.load_shape, program.type, load.moved)
        at = load.moved + load.offset
        if ruling.allowed is Allowed.YES and prototype is not None:
            btf, proto = prototype
            is_tracepoint = _is_tracepoint(program)
            ruling = arguments.readable(btf, proto, at, program.attach_type, tracepoint=is_tracepoint)
            argument = arguments.argument_at(btf, proto, at, tracepoint=is_tracepoint)
            what = arguments.pointee(btf, argument) if argument else None
            own_rules = program.type is ProgramType.STRUCT_OPS
            if ruling.allowed is Allowed.YES and what is not None and not own_rules:
                ruling = loaded.facts.rule(arguments.pointer_readable, what)
        elif ruling.allowed is Allowed.YES and context is not None:
            ruling = loaded.facts.work(_inside, program.type, at, program.attach_type)
        if ruling.allowed is not Allowed.YES:
            found.setdefault(ruling, []).append(slot)
    if relocated.reached.context_stores:
        writing = loaded.facts.rule(arguments.writable, program.type)
        if writing.allowed is not Allowed.YES:
            found[writing] = list(relocated.reached.context_stores)
    yield from found.items()


def _inside(
    facts: KernelFacts, _: Ask, program_type: ProgramType, at: int, attach_type: AttachType | None
) -> Ruling:
    context = _context(facts, program_type)
    assert context is not None
    return arguments.inside(program_type, *context, at, attach_type)


def _context(facts: KernelFacts, program_type: ProgramType) -> tuple[Btf, Struct] | None:
    """The struct that programs of this type get in this kernel."""
    name = arguments.CONTEXT_STRUCTS.get(program_type)
    place = facts.find(name, Kind.STRUCT) if name else None
    kind = place.btf.type(place.type_id) if place else None
    return (place.btf, kind) if place and isinstance(kind, Struct) and kind.size else None


def _starts_and_size(
    facts: KernelFacts, _: Ask, program_type: ProgramType
) -> tuple[frozenset[int], int] | None:
    """Where the members of the context begin and where it ends, in bytes."""
    context = _context(facts, program_type)
    if context is None:
        return None
    return frozenset(member.bit_offset // 8 for member in context[1].members), context[1].size


def _reads_far(
    program: ProgramSpec, relocated: Relocated, context: tuple[frozenset[int], int] | None
) -> bool:
    """Whether any load could be refused, if it were one from the context: else none need be looked for."""
    if context is None:
        return False
    starts, size = context
    limit = 20 if program.type is ProgramType.XDP else size
    return any(
        i.opcode & 0x07 == Opclass.LDX and (i.off >= limit or i.off not in starts) for i in relocated.insns
    )


def _holds_context(relocated: Relocated) -> bool:
    """Whether a number is added to r1 or to a register that r1 was moved to, or one of them is stored
    through: else no pointer to the context is.
    """
    holders = {1}
    holders.update(i.dst for i in relocated.insns if i.opcode == _MOVE and i.src == 1 and i.off == 0)
    stores = (Opclass.ST, Opclass.STX)
    return any(
        i.dst in holders and ((i.opcode == _ADD and i.imm) or i.opcode & 0x07 in stores)
        for i in relocated.insns
    )


def _is_tracepoint(program: ProgramSpec) -> bool:
    need = attach_target(program)
    return need is not None and need.target_kind is TargetKind.TRACEPOINT_BTF


def _prototype(loaded: Loaded, program: ProgramSpec) -> tuple[Btf, FuncProto] | None:
    """The prototype whose arguments the context holds; None where nothing tells."""
    if program.type is ProgramType.STRUCT_OPS:
        return _member(loaded, program)
    name = target_function(program)
    if name is None or program.type is ProgramType.EXT:
        return None
    if _is_tracepoint(program):
        place = loaded.facts.find(f"btf_trace_{name}", Kind.TYPEDEF)
    else:
        place = loaded.facts.find(name, Kind.FUNC)
    return None if place is None else _proto(place.btf, place.type_id)


def _member(loaded: Loaded, program: ProgramSpec) -> tuple[Btf, FuncProto] | None:
    """Of the member that a struct_ops program fills, where all its maps agree on one."""
    found: tuple[Btf, FuncProto] | None = None
    for spec in loaded.spec.maps:
        ops = spec.struct_ops
        if ops is None:
            continue
        place = kernel_struct(loaded, ops.type_name)
        kernel_type = place[0].type(place[1]) if place else None
        if place is None or not isinstance(kernel_type, Struct):
            continue
        for member in kernel_type.members:
            if ops.programs.get(member.name) == program.name:
                proto = _proto(place[0], member.type_id)
                if found is not None and proto != found:
                    return None
                found = proto
    return found


def _proto(btf: Btf, type_id: int) -> tuple[Btf, FuncProto] | None:
    """Below a function, a typedef or a pointer."""
    _, kind = skip_mods_and_typedefs(btf, type_id)
    if isinstance(kind, Ptr | Func):
        _, kind = skip_mods_and_typedefs(btf, kind.type_id)
    return (btf, kind) if isinstance(kind, FuncProto) else None
