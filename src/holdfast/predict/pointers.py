# SPDX-License-Identifier: Apache-2.0
"""What a program reads through typed pointers at offsets that no relocation moves, held against the kernel's
types; and what it reads through pointers that may be null in this kernel.

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
from holdfast.needs.licenses import is_gpl_compatible
from holdfast.needs.model import TargetKind
from holdfast.needs.targets import attach_target
from holdfast.predict.context import Loaded
from holdfast.predict.origins import HELPER_RESULTS
from holdfast.predict.relocated import Relocated
from holdfast.predict.struct_ops import member_of
from holdfast.predict.targets import target_function
from holdfast.rules import arguments, nullable, ops_writes, struct_access
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.struct_access import Found, Pointed, Refusal, Shape
from holdfast.terms import AttachType, ProgramType

__all__ = ["refused_reads", "unlicensed_reads"]

_Origin: TypeAlias = tuple[str, str, str | int, int]
_Steps: TypeAlias = tuple[tuple[int, int], ...]
_SOURCE: Final = "btf_struct_walk in kernel/bpf/btf.c"
_READ_ONLY: Final = frozenset({ProgramType.TRACING, ProgramType.LSM})
_NULLABLE: Final = "__nullable"  # of parameters of a member's CFI stub, the function <struct>__<member>
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
    compared = {(one.origin, one.path) for one in reached.compared}
    for slot, load in reached.pointer_loads.items():
        pointer = load.pointer
        if len(pointer.path) < 2 and (pointer.origin, pointer.path) not in compared:
            ruling = _unchecked(loaded, program, relocated, pointer)
            if ruling.allowed is Allowed.NO:
                found.setdefault(ruling, []).append(slot)
                continue
        if slot in relocated.resolved.rows:
            continue
        ruling = _read(loaded, program, relocated, slot, load)
        if ruling.allowed is Allowed.NO:
            found.setdefault(ruling, []).append(slot)
    ops = member_of(loaded.spec, program)
    if program.type in _READ_ONLY or (ops is not None and ops[0] in ops_writes.JUDGED):
        for slot, store in reached.pointer_stores.items():
            ruling = _write(loaded, program, relocated, slot, store.pointer)
            if ruling.allowed is Allowed.NO:
                found.setdefault(ruling, []).append(slot)
    yield from found.items()


def unlicensed_reads(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated
) -> Iterator[tuple[Ruling, list[int]]]:
    """The same of reads through typed pointers by a program whose licence is not GPL-compatible."""
    if is_gpl_compatible(loaded.spec.license) or program.type not in _READ_ONLY:
        return
    if not loaded.facts.rule(struct_access.asks_for_gpl):
        return
    slots = []
    for slot, load in relocated.reached.pointer_loads.items():
        origin = _origin(loaded, program, load.pointer)
        if origin is not None and not load.pointer.path and loaded.facts.work(_is_struct, origin):
            slots.append(slot)
    if slots:
        why = f"it reads the kernel's structs, and the object's license is {loaded.spec.license!r}"
        yield Ruling(Allowed.NO, why, "check_ptr_to_btf_access in kernel/bpf/verifier.c"), slots


def _is_struct(facts: KernelFacts, _: Ask, origin: _Origin) -> bool:
    return isinstance(_start(facts, origin), Pointed)


def _read(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated, slot: int, load: PointerAccess
) -> Ruling:
    origin = _origin(loaded, program, load.pointer)
    if origin is None:
        return _YES
    last = (load.pointer.moved + relocated.insns[slot].off, load.size)
    return loaded.facts.own(_judged_here, relocated.resolved.number, origin, load.pointer.path, last)


def _unchecked(loaded: Loaded, program: ProgramSpec, relocated: Relocated, pointer: Pointer) -> Ruling:
    """A read through a pointer that the program never compares with anything: may it be null?"""
    origin = _origin(loaded, program, pointer)
    if origin is None:
        return _YES
    if not pointer.path:
        return loaded.facts.work(_may_be_null, origin, program.type)
    if not _is_trusted(program):
        return _YES
    twins = loaded.facts.work(_lists, origin, not program.sleepable)
    if not twins:
        return _YES
    return loaded.facts.own(_field_here, relocated.resolved.number, origin, pointer.path, twins)


def _is_trusted(program: ProgramSpec) -> bool:
    """``prog_args_trusted()``: arguments are trusted pointers."""
    if program.type is ProgramType.TRACING:
        return program.attach_type in (AttachType.TRACE_RAW_TP, AttachType.TRACE_ITER)
    return program.type in (ProgramType.LSM, ProgramType.STRUCT_OPS)


def _write(loaded: Loaded, program: ProgramSpec, relocated: Relocated, slot: int, pointer: Pointer) -> Ruling:
    origin = _origin(loaded, program, pointer)
    if origin is None:
        return _YES
    ops = member_of(loaded.spec, program)
    if ops is not None:
        row = relocated.resolved.rows.get(slot)
        moved = relocated.insns[slot].off if row is None or row.offset is None else row.offset
        at = pointer.moved + moved
        return loaded.facts.own(_put_here, relocated.resolved.number, ops[0], origin, pointer.path, at)
    return loaded.facts.own(_written_here, relocated.resolved.number, origin, pointer.path)


def _judged_here(loaded: Loaded, number: int, origin: _Origin, path: _Steps, last: tuple[int, int]) -> Ruling:
    return loaded.facts.work(_judged, origin, (*_steps(loaded, number, path), last))


def _written_here(loaded: Loaded, number: int, origin: _Origin, path: _Steps) -> Ruling:
    return loaded.facts.work(_written, origin, _steps(loaded, number, path))


def _put_here(loaded: Loaded, number: int, ops: str, origin: _Origin, path: _Steps, at: int) -> Ruling:
    return loaded.facts.work(_put, ops, origin, _steps(loaded, number, path), at)


def _field_here(loaded: Loaded, number: int, origin: _Origin, path: _Steps, twins: tuple[str, ...]) -> Ruling:
    return loaded.facts.work(_field_may_be_null, origin, _steps(loaded, number, path)[0], twins)


def _steps(loaded: Loaded, number: int, path: _Steps) -> _Steps:
    """(offset, size) in bytes of each load on the way; ``path`` has the slot of each and what is added first.

    Most loads on the way are displaced by CO-RE, on each kernel otherwise, and the ruling is the same.
    """
    rows, insns = loaded.resolved(number).rows, loaded.spec.programs[number].insns
    steps = []
    for slot, moved in path:
        offset = rows[slot].offset if slot in rows else None
        steps.append((moved + (insns[slot].off if offset is None else offset), 8))
    return tuple(steps)


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


def _may_be_null(facts: KernelFacts, ask: Ask, origin: _Origin, program_type: ProgramType) -> Ruling:
    kind, name, detail, offset = origin
    if kind == "member":
        stub = facts.find(f"{name}__{detail}", Kind.FUNC)
        proto = _proto(stub.btf, stub.type_id) if stub else None
        place = offset // 8
        if proto is not None and place < len(proto.params) and proto.params[place].name.endswith(_NULLABLE):
            why = f"argument {place + 1} of {name}.{detail} may be null, and the program does not ask"
            return Ruling(Allowed.NO, why, "prepare_arg_info in kernel/bpf/bpf_struct_ops.c, since 6.9")
    if kind == "tracepoint":
        return nullable.tracepoint_argument(name.removeprefix("btf_trace_"), offset // 8, ask)
    if kind == "kfunc":
        assert isinstance(detail, str)
        if "RET_NULL" in (facts.kfunc_flags(detail, program_type) or ()):
            why = f"what kfunc {detail} gives may be null (KF_RET_NULL)"
            return Ruling(Allowed.NO, why, "check_mem_access in kernel/bpf/verifier.c")
    return _YES


def _twins(facts: KernelFacts, struct: Found, unsleepable: bool) -> Iterator[str]:
    """The structs in which the kernel lists fields of this one that may be null."""
    if isinstance(struct, Pointed):
        for in_rcu, suffix in nullable.FIELDS.items():
            name = _name(struct) + suffix
            if (unsleepable or not in_rcu) and facts.find(name, Kind.STRUCT) is not None:
                yield name


def _lists(facts: KernelFacts, _: Ask, origin: _Origin, unsleepable: bool) -> tuple[str, ...]:
    return tuple(_twins(facts, _start(facts, origin), unsleepable))


def _field_may_be_null(
    facts: KernelFacts, ask: Ask, origin: _Origin, step: tuple[int, int], twins: tuple[str, ...]
) -> Ruling:
    struct = _start(facts, origin)
    assert isinstance(struct, Pointed)
    _, kind = skip_mods_and_typedefs(struct.btf, struct.type_id)
    assert isinstance(kind, Composite)
    field = next((m.name for m in kind.members if m.bit_offset == step[0] * 8), None)
    for twin in twins:
        place = facts.find(twin, Kind.STRUCT)
        listed = place.btf.type(place.type_id) if place else None
        if isinstance(listed, Struct) and any(m.name == field for m in listed.members):
            why = f"{_name(struct)}.{field} may be null, and the program does not ask"
            return Ruling(Allowed.NO, why, f"struct {twin} of the kernel's BTF")
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


def _put(facts: KernelFacts, ask: Ask, ops: str, origin: _Origin, steps: _Steps, at: int) -> Ruling:
    """A struct_ops program's store ``at`` that many bytes of a struct."""
    found = _start(facts, origin, ops)
    for offset, size in steps:
        if not isinstance(found, Pointed):
            return _YES
        found = struct_access.at(found, offset, size)
    name = _name(found) if isinstance(found, Pointed) else ""
    if not name:
        return _YES
    open_members = ops_writes.writable(ops, name, ask)
    for owner, member in open_members:
        place = facts.find(owner, Kind.STRUCT)
        extent = struct_access.extent(place.btf, place.type_id, member) if place else None
        if extent is None or extent[0] <= at < extent[1]:
            return _YES
    members = " and ".join(member for _, member in open_members)
    why = f"it writes to struct {name} at offset {at}, and {ops} programs only to {members or 'others'}"
    return Ruling(Allowed.NO, why, f"btf_struct_access of {ops}")


def _name(struct: Pointed) -> str:
    _, kind = skip_mods_and_typedefs(struct.btf, struct.type_id)
    return kind.name if isinstance(kind, Composite) else ""


def _start(facts: KernelFacts, origin: _Origin, ops: str = "") -> Found:
    """What the origin gives; with ``ops`` as that type of struct_ops sees it."""
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
        found = _of_member(facts, name, detail, offset)
        seen = ops_writes.SEEN_AS.get((ops, _name(found))) if isinstance(found, Pointed) else None
        place = facts.find(seen, Kind.STRUCT) if seen else None
        if place is not None:
            return Pointed(place.btf, place.type_id)
        return Shape.UNTOLD if isinstance(found, Pointed) and _name(found) == "sock" else found
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
        return struct_access.pointed(place.btf, type_id) if type_id else Shape.UNTOLD
    return Shape.UNTOLD


def _proto(btf: Btf, type_id: int) -> FuncProto | None:
    """Below a function, a typedef or a pointer."""
    _, kind = skip_mods_and_typedefs(btf, type_id)
    if isinstance(kind, Ptr | Func):
        _, kind = skip_mods_and_typedefs(btf, kind.type_id)
    return kind if isinstance(kind, FuncProto) else None
