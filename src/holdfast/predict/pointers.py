# SPDX-License-Identifier: Apache-2.0
"""What a program reads through typed pointers at offsets that no relocation moves, held against the kernel's
types.

A pointer counts only where it is the same on every way to the access. What a relocation put there is not
judged: it was taken from the kernel's BTF.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Composite, Func, FuncProto, Kind, Ptr, Struct
from holdfast.elf.spec import ProgramSpec
from holdfast.insn.live import PointerAccess
from holdfast.insn.values import Pointer
from holdfast.kernels.facts import KernelFacts
from holdfast.needs.model import TargetKind
from holdfast.needs.targets import attach_target
from holdfast.predict.context import Loaded
from holdfast.predict.origins import HELPER_RESULTS
from holdfast.predict.relocated import Relocated
from holdfast.predict.struct_ops import member_of
from holdfast.predict.targets import target_function
from holdfast.rules import arguments, struct_access
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.struct_access import Found, Pointed, Refusal, Shape
from holdfast.terms import ProgramType

__all__ = ["refused_reads"]

_Origin: TypeAlias = tuple[str, str, str | int, int]
_Steps: TypeAlias = tuple[tuple[int, int], ...]
_SOURCE: Final = "btf_struct_walk in kernel/bpf/btf.c"
_READ_ONLY: Final = frozenset({ProgramType.TRACING, ProgramType.LSM})
_YES: Final = Ruling(Allowed.YES, "", _SOURCE)
# Nodes of the program's own objects are typed by the program's BTF (KF_RET_NULL kfuncs of lists and trees).
_OWN_TYPES: Final = frozenset({"bpf_list_node", "bpf_rb_node"})


def refused_reads(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated
) -> Iterator[tuple[Ruling, list[int]]]:
    """Rulings that are no plain yes, each with the slots of the live loads and stores that it is about."""
    origins = relocated.origins
    if not origins.calls and not origins.arguments:
        return
    reached = relocated.reached
    found: dict[Ruling, list[int]] = {}
    for slot, load in reached.pointer_loads.items():
        if slot in relocated.resolved.rows:
            continue
        ruling = _read(loaded, program, relocated, slot, load)
        if ruling.allowed is Allowed.NO:
            found.setdefault(ruling, []).append(slot)
    if program.type in _READ_ONLY:
        for slot, store in reached.pointer_stores.items():
            ruling = _write(loaded, program, relocated, store.pointer)
            if ruling.allowed is Allowed.NO:
                found.setdefault(ruling, []).append(slot)
    yield from found.items()


def _read(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated, slot: int, load: PointerAccess
) -> Ruling:
    origin = _origin(loaded, program, load.pointer)
    if origin is None:
        return _YES
    last = (load.pointer.moved + relocated.insns[slot].off, load.size)
    steps = (*_steps(loaded, relocated, load.pointer), last)
    return loaded.facts.work(_judged, origin, steps)


def _write(loaded: Loaded, program: ProgramSpec, relocated: Relocated, pointer: Pointer) -> Ruling:
    origin = _origin(loaded, program, pointer)
    if origin is None:
        return _YES
    return loaded.facts.work(_written, origin, _steps(loaded, relocated, pointer))


def _steps(loaded: Loaded, relocated: Relocated, pointer: Pointer) -> _Steps:
    """(offset, size) in bytes of each load that leads to the pointer."""
    rows = relocated.resolved.rows
    loaded.facts.note_displaced(tuple(slot for slot, _ in pointer.path if slot in rows))
    return tuple((moved + relocated.insns[slot].off, 8) for slot, moved in pointer.path)


def _origin(loaded: Loaded, program: ProgramSpec, pointer: Pointer) -> _Origin | None:
    """Kind, name, and what more it takes to find the type in a kernel's BTF."""
    origin = pointer.origin
    if isinstance(origin, tuple):
        return (str(origin[0]), "", origin[1], 0)
    assert isinstance(origin, int)
    member = member_of(loaded.spec, program)
    if member is not None:
        return ("member", *member, origin)
    name = target_function(program)
    need = attach_target(program)
    if name is None or need is None or program.type is ProgramType.STRUCT_OPS:
        return None
    if need.target_kind is TargetKind.TRACEPOINT_BTF:
        return ("tracepoint", f"btf_trace_{name}", "", origin)
    attach_type = "" if program.attach_type is None else program.attach_type.name
    return ("function", name, attach_type, origin)


def _judged(facts: KernelFacts, _: Ask, origin: _Origin, steps: _Steps) -> Ruling:
    found = _start(facts, origin)
    for number, (offset, size) in enumerate(steps):
        if not isinstance(found, Pointed):
            # Through a number nothing is read; but only the last access is in question.
            last = number == len(steps) - 1
            if last and number and found is Shape.NUMBER:
                return Ruling(Allowed.NO, "it takes a number for a pointer, by this kernel's types", _SOURCE)
            return _YES
        found = struct_access.at(found, offset, size)
        if isinstance(found, Refusal):
            return Ruling(Allowed.NO, found.why, _SOURCE)
    return _YES


def _written(facts: KernelFacts, _: Ask, origin: _Origin, steps: _Steps) -> Ruling:
    found = _start(facts, origin)
    for offset, size in steps:
        if not isinstance(found, Pointed):
            return _YES
        found = struct_access.at(found, offset, size)
    if not isinstance(found, Pointed):
        return _YES
    why = f"it writes to struct {_name(found)}, which its type of program may only read"
    return Ruling(Allowed.NO, why, "check_ptr_to_btf_access in kernel/bpf/verifier.c")


def _name(struct: Pointed) -> str:
    _, kind = skip_mods_and_typedefs(struct.btf, struct.type_id)
    return kind.name if isinstance(kind, Composite) else ""


def _start(facts: KernelFacts, origin: _Origin) -> Found:
    kind, name, detail, offset = origin
    if kind == "kfunc":
        assert isinstance(detail, str)
        place = facts.function(detail)
        proto = _proto(place.btf, place.type_id) if place else None
        if place is None or proto is None:
            return Shape.UNTOLD
        found = struct_access.pointed(place.btf, proto.return_type_id)
        own = isinstance(found, Pointed) and _name(found) in _OWN_TYPES
        return Shape.UNTOLD if own else found
    if kind == "helper":
        assert isinstance(detail, int)
        struct = facts.find(HELPER_RESULTS[detail], Kind.STRUCT)
        return Pointed(struct.btf, struct.type_id) if struct else Shape.UNTOLD
    if kind == "member":
        assert isinstance(detail, str)
        return _of_member(facts, name, detail, offset)
    place = facts.find(name, Kind.TYPEDEF if kind == "tracepoint" else Kind.FUNC)
    proto = _proto(place.btf, place.type_id) if place else None
    if place is None or proto is None:
        return Shape.UNTOLD
    type_id = arguments.argument_at(place.btf, proto, offset, tracepoint=kind == "tracepoint")
    return struct_access.pointed(place.btf, type_id) if type_id else Shape.UNTOLD


def _of_member(facts: KernelFacts, struct: str, member: str, offset: int) -> Found:
    """An argument of a struct_ops program. bpf_tcp_ca_is_valid_access() makes a tcp_sock of a sock."""
    place = facts.find(struct, Kind.STRUCT)
    kind = place.btf.type(place.type_id) if place else None
    if place is None or not isinstance(kind, Struct):
        return Shape.UNTOLD
    for one in kind.members:
        if one.name != member:
            continue
        proto = _proto(place.btf, one.type_id)
        type_id = arguments.argument_at(place.btf, proto, offset, tracepoint=False) if proto else None
        found = struct_access.pointed(place.btf, type_id) if type_id else Shape.UNTOLD
        if isinstance(found, Pointed) and _name(found) == "sock":
            return Shape.UNTOLD
        return found
    return Shape.UNTOLD


def _proto(btf: Btf, type_id: int) -> FuncProto | None:
    """Below a function, a typedef or a pointer."""
    _, kind = skip_mods_and_typedefs(btf, type_id)
    if isinstance(kind, Ptr | Func):
        _, kind = skip_mods_and_typedefs(btf, kind.type_id)
    return kind if isinstance(kind, FuncProto) else None
