# SPDX-License-Identifier: Apache-2.0
"""struct_ops maps against the kernel's types (``bpf_map__init_kern_struct_ops()`` of libbpf)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.btf import Btf, essential_name
from holdfast.btf.skip import UnsizedError, pointer_size, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import FuncProto, Kind, Member, Ptr, Struct
from holdfast.elf.spec import MapSpec, ObjectSpec, ProgramSpec, StructOpsSpec
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.rules import map_types
from holdfast.rules.ask import Allowed
from holdfast.terms import Evidence, MapFlag, MapType, ProgramType

__all__ = ["kernel_struct", "member_of", "struct_ops_reasons"]


def struct_ops_reasons(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    """Reasons of the object's struct_ops maps, which stop all its programs, and of a program that none
    names.
    """
    used = False
    for spec in loaded.spec.maps:
        ops = spec.struct_ops
        if ops is None:
            continue
        mine = program.name in ops.programs.values()
        used = used or (mine and spec.autocreate)
        # a map behind `?` is not created unless the application asks; its program is judged as if it did
        if spec.autocreate or mine:
            used = used or mine
            yield from _map(loaded, program, spec, ops)
            yield from _linked(loaded, spec)
        if mine:
            yield from _unsupported(program, ops)
    if program.type is ProgramType.STRUCT_OPS and not used:
        yield Reason(
            ReasonCode.STRUCT_OPS_UNUSED,
            f"struct_ops program {program.name}",
            "no struct_ops map of the object names this program, so libbpf does not know what it is for",
            Stage.PREPARE_LOAD,
            Evidence.OBJECT,
            hint="set it as a member of a struct in SEC(.struct_ops) or SEC(.struct_ops.link)",
        )


def _linked(loaded: Loaded, spec: MapSpec) -> Iterator[Reason]:
    """SEC(".struct_ops.link"): libbpf asks for BPF_F_LINK, whatever the kernel."""
    if not spec.flags & MapFlag.LINK:
        return
    flags = int(MapFlag.LINK)
    for ruling in loaded.facts.rule(map_types.problems, MapType.STRUCT_OPS, 4, 1, 1, flags):
        certain = ruling.allowed is Allowed.NO
        yield Reason(
            ReasonCode.MAP_INVALID if certain else ReasonCode.MAP_UNKNOWN,
            f"map {spec.name}",
            ruling.told,
            Stage.MAPS,
            Evidence.RULE,
            certain,
            hint='SEC(".struct_ops") is for kernels before 6.4, and takes no link',
        )


def member_of(spec: ObjectSpec, program: ProgramSpec) -> tuple[str, str] | None:
    """(struct, member) that a struct_ops program fills, the struct as the kernel names it; the first of
    several. None for a program of another type.
    """
    if program.type is ProgramType.STRUCT_OPS:
        for one in spec.maps:
            if one.struct_ops:
                for member, name in one.struct_ops.programs.items():
                    if name == program.name:
                        return essential_name(one.struct_ops.type_name), member
    return None


_UNSUPPORTED: Final = frozenset({("tcp_congestion_ops", "get_info")})
"""Members that a type's check_member refuses: unsupported_ops in net/ipv4/bpf_tcp_ca.c, trees 5.10 to 7.1."""


def _unsupported(program: ProgramSpec, ops: StructOpsSpec) -> Iterator[Reason]:
    name = essential_name(ops.type_name)
    for member, filler in ops.programs.items():
        if filler == program.name and (name, member) in _UNSUPPORTED:
            yield Reason(
                ReasonCode.STRUCT_OPS_MISMATCH,
                f"struct_ops {name}.{member}",
                f"no BPF program may stand in for member {member} (check_struct_ops_btf_id)",
                Stage.VERIFIER,
                Evidence.RULE,
                hint="leave the member out",
            )


def kernel_struct(facts: KernelFacts, type_name: str) -> tuple[Btf, int] | None:
    """The kernel's struct of that essential name, if it also has the ``bpf_struct_ops_<name>`` around it."""
    name = essential_name(type_name)
    place = facts.find(name, Kind.STRUCT)
    if place is None or facts.find(f"bpf_struct_ops_{name}", Kind.STRUCT) is None:
        return None
    return place.btf, place.type_id


def _map(loaded: Loaded, program: ProgramSpec, spec: MapSpec, ops: StructOpsSpec) -> Iterator[Reason]:
    name = essential_name(ops.type_name)
    found = kernel_struct(loaded.facts, ops.type_name)
    if found is None:
        has_struct = loaded.facts.find(name, Kind.STRUCT) is not None
        what = f"struct bpf_struct_ops_{name}" if has_struct else f"struct {name}"
        yield Reason(
            ReasonCode.STRUCT_OPS_MISSING,
            f"struct_ops {name}",
            f"{what} is not in the BTF of the kernel or its loaded modules",
            Stage.STRUCT_OPS,
            Evidence.BTF,
            hint="the kernel is too old for it, built without it, or the module that has it is not loaded",
        )
        return
    btf, type_id = found
    local_btf = loaded.spec.btf
    kernel_type = btf.type(type_id)
    assert local_btf is not None and isinstance(kernel_type, Struct)
    local = local_btf.type(ops.type_id)
    assert isinstance(local, Struct)
    theirs = {m.name: m for m in kernel_type.members}
    for member in local.members:
        # Others' autoload is off, and their members are null: libbpf skips those that the kernel lacks (1.5).
        if member.name not in theirs and ops.programs.get(member.name, program.name) != program.name:
            continue
        problem = _member(local_btf, member, btf, theirs.get(member.name), spec, ops)
        if problem:
            yield Reason(
                ReasonCode.STRUCT_OPS_MISMATCH,
                f"struct_ops {name}.{member.name}",
                problem,
                Stage.STRUCT_OPS,
                Evidence.BTF,
                hint="declare a second struct of this type with a ___flavor, without the member",
            )


def _member(
    local: Btf, member: Member, kernel: Btf, theirs: Member | None, spec: MapSpec, ops: StructOpsSpec
) -> str | None:
    try:
        size = resolve_size(local, member.type_id, 8)
    except UnsizedError:
        return f"the size of member {member.name} cannot be told"
    at = member.bit_offset // 8
    data = (spec.contents or b"")[at : at + size]
    is_set = member.name in ops.programs or any(data)
    if theirs is None:
        return f"the kernel's struct has no member {member.name}, and the object sets it" if is_set else None
    if member.bitfield_size or theirs.bitfield_size:
        return f"member {member.name} is a bit field, which libbpf does not support"
    _, shape = skip_mods_and_typedefs(local, member.type_id)
    their_id, their_shape = skip_mods_and_typedefs(kernel, theirs.type_id)
    if shape.kind != their_shape.kind:
        return f"member {member.name} is a {shape.kind.name}, in the kernel a {their_shape.kind.name}"
    if isinstance(shape, Ptr) and isinstance(their_shape, Ptr):
        if member.name not in ops.programs:
            return None
        _, pointee = skip_mods_and_typedefs(kernel, their_shape.type_id)
        return (
            None if isinstance(pointee, FuncProto) else f"the kernel's {member.name} is no function pointer"
        )
    try:
        their_size = resolve_size(kernel, their_id, pointer_size(kernel))
    except UnsizedError:
        their_size = -1
    if size != their_size:
        return f"member {member.name} has {size} bytes, in the kernel {their_size}"
    return None
