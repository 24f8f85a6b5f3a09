# SPDX-License-Identifier: Apache-2.0
"""Collect the needs of programs: :func:`needs_of_object` is the door.

Needs that libbpf enforces for the object as a whole (maps, externs, struct_ops types) appear with each
program, for none of them loads without these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from holdfast.btf.cformat import declaration, type_name
from holdfast.btf.ext import CoreRelo
from holdfast.btf.index import essential_name
from holdfast.elf.spec import (
    ExternKind,
    ExternSpec,
    MapOrigin,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    ReferenceKind,
)
from holdfast.insn.features import FEATURES, InsnFeature, first_slots
from holdfast.needs import capabilities
from holdfast.needs.conditions import Conditions
from holdfast.needs.licenses import license_need
from holdfast.needs.model import (
    CapabilityNeed,
    CoreReloNeed,
    HelperNeed,
    InstructionNeed,
    KconfigNeed,
    KfuncNeed,
    KsymNeed,
    MapNeed,
    Need,
    ObjectNeeds,
    ProgramNeeds,
    ProgramTypeNeed,
    SizeNeed,
    StructOpsNeed,
)
from holdfast.needs.targets import attach_target
from holdfast.relo.failure import Refused
from holdfast.relo.spec import ZERO_WHEN_MISSING, parse_spec
from holdfast.relo.target import Side
from holdfast.rules.helpers import helper_name
from holdfast.terms import MapType

__all__ = ["application_sets", "helper_calls", "needs_of_object", "needs_of_program"]

# Features that every kernel from 5.10 on takes and that clang uses by itself: needs without a message
_SILENT = frozenset({InsnFeature.UNKNOWN, InsnFeature.KFUNC_CALL, InsnFeature.MODULE_KFUNC_CALL})


def needs_of_object(spec: ObjectSpec) -> ObjectNeeds:
    """The needs of each program of an object."""
    programs = tuple(ProgramNeeds(p, tuple(needs_of_program(spec, p))) for p in spec.programs)
    return ObjectNeeds(spec.path, spec.sha256, programs)


def needs_of_program(spec: ObjectSpec, program: ProgramSpec) -> list[Need]:
    """The needs of one program, ordered by kind; each has the conditions under which its code is live."""
    conditions = Conditions(spec, program)
    needs: list[Need] = [*_whole(spec, program)]
    target = attach_target(program)
    needs += [target] if target else []
    needs += _struct_ops(spec, program)
    needs += _maps(spec, program)
    needs += _helpers(program, conditions)
    needs += _externs(spec, program, conditions)
    needs += _core_relos(spec, program, conditions)
    needs += _instructions(program, conditions)
    needs.append(
        SizeNeed(
            name=f"{len(program.insns)} instructions", insns=len(program.insns), functions=len(program.parts)
        )
    )
    return needs


def _whole(spec: ObjectSpec, program: ProgramSpec) -> Iterator[Need]:
    since = program.definition.since if program.definition else (1, 0)
    name = program.type.name + (" sleepable" if program.sleepable else "")
    if program.attach_type is not None:
        name += f" as {program.attach_type.name}"
    yield ProgramTypeNeed(
        name=name,
        type=program.type,
        attach_type=program.attach_type,
        sleepable=program.sleepable,
        libbpf=since,
    )
    load, attach = capabilities.to_load(program.type), capabilities.to_attach(program.type)
    yield CapabilityNeed(name=" ".join(load), to_load=load, to_attach=attach)
    license_ = license_need(spec, program)
    if license_:
        yield license_


def helper_calls(program: ProgramSpec) -> dict[int, list[int]]:
    """Slots of the calls of each helper, by number."""
    kfuncs = {r.slot for r in program.references if r.kind is ReferenceKind.KFUNC_CALL}
    calls: dict[int, list[int]] = defaultdict(list)
    for slot, insn in enumerate(program.insns):
        if insn.is_helper_call and slot not in kfuncs:
            calls[insn.imm].append(slot)
    return calls


def _in_subprogram(program: ProgramSpec, slots: list[int]) -> bool:
    main = program.parts[0].length if program.parts else 0
    return any(slot >= main for slot in slots)


def _helpers(program: ProgramSpec, conditions: Conditions) -> Iterator[Need]:
    for number, slots in sorted(helper_calls(program).items()):
        yield HelperNeed(
            name=helper_name(number),
            slots=tuple(slots),
            source=program.source_at(slots[0]),
            conditions=conditions.of(slots),
            number=number,
            in_subprogram=_in_subprogram(program, slots),
        )


def _struct_ops(spec: ObjectSpec, program: ProgramSpec) -> Iterator[Need]:
    for spec_map in spec.maps:
        ops = spec_map.struct_ops
        if ops and (spec_map.autocreate or program.name in ops.programs.values()):
            yield StructOpsNeed(
                name=f"struct {ops.type_name} ({', '.join(ops.programs) or 'no callbacks'})",
                map=spec_map,
                type_name=ops.type_name,
                members=tuple(ops.programs),
            )


def application_sets(spec: MapSpec) -> tuple[str, ...]:
    """What the application must set before it loads the object, because the declaration leaves it out.

    libbpf fills in the number of CPUs for a PERF_EVENT_ARRAY (``map_set_def_max_entries()``); types without
    elements of their own want 0.
    """
    own_rules = (
        MapType.PERF_EVENT_ARRAY,
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
        MapType.CGROUP_STORAGE,
        MapType.PERCPU_CGROUP_STORAGE,
        MapType.STRUCT_OPS,
    )
    missing = []
    if spec.type in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS) and spec.inner is None:
        missing.append("inner map")
    if spec.type is MapType.STACK_TRACE and spec.value_size == 0:
        missing.append("value_size")
    if spec.max_entries == 0 and spec.type not in own_rules and not spec.is_internal:
        missing.append("max_entries")
    return tuple(missing)


def _maps(spec: ObjectSpec, program: ProgramSpec) -> Iterator[Need]:
    users: dict[str, list[int]] = defaultdict(list)
    for reference in program.references:
        if reference.kind in (ReferenceKind.MAP, ReferenceKind.MAP_VALUE):
            users[reference.name].append(reference.slot)
    for spec_map in spec.maps:
        if spec_map.origin is MapOrigin.STRUCT_OPS:
            continue
        slots = users.get(spec_map.name, [])
        yield MapNeed(
            name=spec_map.name,
            slots=tuple(slots),
            source=program.source_at(slots[0]) if slots else None,
            map=spec_map,
            used=bool(slots),
            application_sets=application_sets(spec_map),
        )


def _externs(spec: ObjectSpec, program: ProgramSpec, conditions: Conditions) -> Iterator[Need]:
    slots_of: dict[str, list[int]] = defaultdict(list)
    calls: dict[str, list[int]] = defaultdict(list)
    for reference in program.references:
        if reference.kind is ReferenceKind.KFUNC_CALL:
            calls[reference.name].append(reference.slot)
        elif reference.kind is ReferenceKind.EXTERN:
            slots_of[reference.name].append(reference.slot)
    for extern in spec.externs:
        slots = slots_of[extern.name] + calls[extern.name]
        # A strong extern must resolve whoever uses it; a weak one that this program never names is no need
        if slots or not extern.weak:
            yield _extern(spec, program, extern, slots, calls[extern.name], conditions)


def _extern(
    spec: ObjectSpec,
    program: ProgramSpec,
    extern: ExternSpec,
    slots: list[int],
    calls: list[int],
    conditions: Conditions,
) -> Need:
    assert spec.btf is not None  # an object without BTF has no externs
    source = program.source_at(slots[0]) if slots else None
    found = conditions.of(slots, besides=extern.name)
    if extern.kind is ExternKind.KCONFIG:
        return KconfigNeed(
            name=extern.name,
            slots=tuple(slots),
            source=source,
            conditions=found,
            extern=extern,
            weak=extern.weak,
            type=type_name(spec.btf, extern.type_id),
        )
    text = declaration(spec.btf, extern.btf_id)
    if extern.kind is ExternKind.KFUNC:
        return KfuncNeed(
            name=essential_name(extern.name),
            slots=tuple(calls or slots),
            source=program.source_at((calls or slots)[0]) if slots else None,
            conditions=conditions.of(calls or slots, besides=extern.name),
            extern=extern,
            spelled=extern.name,
            weak=extern.weak,
            guarded=extern.weak and conditions.guarded(extern.name, calls),
            prototype=text,
            in_subprogram=_in_subprogram(program, calls),
        )
    return KsymNeed(
        name=essential_name(extern.name),
        slots=tuple(slots),
        source=source,
        conditions=found,
        extern=extern,
        weak=extern.weak,
        declaration=text,
    )


def _core_relos(spec: ObjectSpec, program: ProgramSpec, conditions: Conditions) -> Iterator[Need]:
    if spec.btf is None:
        return
    side = Side(spec.btf, "object", 8)
    grouped: dict[tuple[int, str, int], list[int]] = defaultdict(list)
    first: dict[tuple[int, str, int], CoreRelo] = {}
    for slot, relo in program.core_relos:
        key = (relo.type_id, relo.access, int(relo.kind))
        grouped[key].append(slot)
        first.setdefault(key, relo)
    for key, slots in grouped.items():
        relo = first[key]
        try:
            text = str(parse_spec(relo, side))
        except Refused as refused:
            text = f"<{relo.kind}> [{relo.type_id}] {relo.access}: {refused.message}"
        yield CoreReloNeed(
            name=conditions.relo_name(relo),
            slots=tuple(slots),
            source=program.source_at(slots[0]),
            conditions=conditions.of(slots, besides=conditions.relo_name(relo)),
            relo=relo,
            label=getattr(relo.kind, "label", str(relo.kind)),
            spec=text,
            optional=int(relo.kind) in ZERO_WHEN_MISSING,
        )


def _instructions(program: ProgramSpec, conditions: Conditions) -> Iterator[Need]:
    for feature, slot in sorted(first_slots(conditions.insns).items(), key=lambda row: row[0].value):
        if feature in _SILENT:
            continue
        yield InstructionNeed(
            name=feature.value,
            slots=(slot,),
            source=program.source_at(slot),
            conditions=conditions.of([slot]),
            feature=feature,
            isa=FEATURES[feature].isa,
        )
