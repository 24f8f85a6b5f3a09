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
_ANYTHING: Final = Ruling(Allowed.YES)


def refused_accesses(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated
) -> Iterator[tuple[Ruling, list[int]]]:
    """Rulings that are no plain yes, each with the slots of the live loads and stores that it is about."""
    places = _places(loaded, program)
    has_prototype = bool(places) and loaded.facts.work(_has_prototype, places)
    suspicious = _holds_context(relocated) or _reads_far(loaded, program, relocated, has_prototype)
    if not has_prototype and not suspicious:
        return
    found: dict[Ruling, list[int]] = {}
    is_tracepoint = _is_tracepoint(program)
    for slot, load in relocated.reached.context_loads.items():
        ruling = loaded.facts.rule(arguments.load_shape, program.type, load.moved)
        at = load.moved + load.offset
        if ruling.allowed is Allowed.YES:
            if has_prototype:
                what = (program.type, program.attach_type, is_tracepoint)
                ruling = loaded.facts.work(_readable, places, at, *what)
            else:
                ruling = loaded.facts.work(_inside, program.type, at, program.attach_type)
        if ruling.allowed is not Allowed.YES:
            found.setdefault(ruling, []).append(slot)
    if relocated.reached.context_stores:
        writing = loaded.facts.rule(arguments.writable, program.type)
        if writing.allowed is not Allowed.YES:
            found[writing] = list(relocated.reached.context_stores)
    yield from found.items()


def _readable(
    facts: KernelFacts,
    ask: Ask,
    places: _Places,
    at: int,
    program_type: ProgramType,
    attach_type: AttachType | None,
    is_tracepoint: bool,
) -> Ruling:
    prototype = _prototype(facts, places)
    assert prototype is not None
    btf, proto = prototype
    ruling = arguments.readable(btf, proto, at, attach_type, tracepoint=is_tracepoint)
    argument = arguments.argument_at(btf, proto, at, tracepoint=is_tracepoint)
    what = arguments.pointee(btf, argument) if argument else None
    own_rules = program_type is ProgramType.STRUCT_OPS
    if ruling.allowed is Allowed.YES and what is not None and not own_rules:
        return arguments.pointer_readable(what, ask)
    return ruling


def _inside(
    facts: KernelFacts, _: Ask, program_type: ProgramType, at: int, attach_type: AttachType | None
) -> Ruling:
    context = _context(facts, program_type)
    if context is None:
        return _ANYTHING
    return arguments.inside(program_type, *context, at, attach_type)


def _context(facts: KernelFacts, program_type: ProgramType) -> tuple[Btf, Struct] | None:
    """The struct that programs of this type get in this kernel."""
    name = arguments.CONTEXT_STRUCTS.get(program_type)
    place = facts.find(name, Kind.STRUCT) if name else None
    kind = place.btf.type(place.type_id) if place else None
    return (place.btf, kind) if place and isinstance(kind, Struct) and kind.size else None


def _has_context(facts: KernelFacts, _: Ask, program_type: ProgramType) -> bool:
    return _context(facts, program_type) is not None


def _is_far(facts: KernelFacts, _: Ask, program_type: ProgramType, offsets: frozenset[int]) -> bool:
    """Whether a load at one of these offsets, in bytes, is beyond the context or inside a member of it."""
    context = _context(facts, program_type)
    if context is None:
        return False
    starts = {member.bit_offset // 8 for member in context[1].members}
    limit = 20 if program_type is ProgramType.XDP else context[1].size
    return any(offset >= limit or offset not in starts for offset in offsets)


def _reads_far(loaded: Loaded, program: ProgramSpec, relocated: Relocated, has_prototype: bool) -> bool:
    """Whether any load could be refused, if it were one from the context: else none need be looked for.

    Where relocation moves an access, what is found must say whether it is one of the context.
    """
    if has_prototype:
        return False
    if any(row.offset is not None for row in relocated.resolved.rows.values()):
        return loaded.facts.work(_has_context, program.type)
    offsets = relocated.remember(
        "offsets", lambda: frozenset(i.off for i in relocated.insns if i.opcode & 0x07 == Opclass.LDX)
    )
    return loaded.facts.work(_is_far, program.type, offsets)


def _holds_context(relocated: Relocated) -> bool:
    """Whether a number is added to r1 or to a register that r1 was moved to, or one of them is stored
    through: else no pointer to the context is.
    """
    return relocated.remember("holds context", lambda: _moves_context(relocated))


def _moves_context(relocated: Relocated) -> bool:
    holders = {1}
    holders.update(i.dst for i in relocated.insns if i.opcode == _MOVE and i.src == 1 and i.off == 0)
    stores = (Opclass.ST, Opclass.STX)
    return any(
        i.dst in holders
        and ((i.opcode == _ADD and (i.imm or slot in relocated.resolved.rows)) or i.opcode & 0x07 in stores)
        for slot, i in enumerate(relocated.insns)
    )


def _is_tracepoint(program: ProgramSpec) -> bool:
    need = attach_target(program)
    return need is not None and need.target_kind is TargetKind.TRACEPOINT_BTF


_Places = tuple[tuple[str, Kind | frozenset[str]], ...]
"""Where to look for a prototype: a function or typedef by name, or members of a struct_ops type."""


def _places(loaded: Loaded, program: ProgramSpec) -> _Places:
    """Where the prototype is whose arguments the context holds; empty where nothing tells."""
    if program.type is ProgramType.STRUCT_OPS:
        found = []
        for spec in loaded.spec.maps:
            ops = spec.struct_ops
            if ops is not None:
                members = frozenset(name for name, filler in ops.programs.items() if filler == program.name)
                found.append((ops.type_name, members))
        return tuple(found)
    name = target_function(program)
    if name is None or program.type is ProgramType.EXT:
        return ()
    return ((f"btf_trace_{name}", Kind.TYPEDEF),) if _is_tracepoint(program) else ((name, Kind.FUNC),)


def _has_prototype(facts: KernelFacts, _: Ask, places: _Places) -> bool:
    return _prototype(facts, places) is not None


def _prototype(facts: KernelFacts, places: _Places) -> tuple[Btf, FuncProto] | None:
    """The prototype at the only place, or the one on which all members there agree."""
    found: tuple[Btf, FuncProto] | None = None
    for name, what in places:
        if isinstance(what, Kind):
            place = facts.find(name, what)
            return None if place is None else _proto(place.btf, place.type_id)
        of_kernel = kernel_struct(facts, name)
        kernel_type = of_kernel[0].type(of_kernel[1]) if of_kernel else None
        if of_kernel is None or not isinstance(kernel_type, Struct):
            continue
        for member in kernel_type.members:
            if member.name in what:
                proto = _proto(of_kernel[0], member.type_id)
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
