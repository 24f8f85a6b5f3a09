# SPDX-License-Identifier: Apache-2.0
"""References, locks and sections that a program does not give back, and pointers that it does not check.

Only what holds on every way through the program is told: a reference of which nothing that follows could get
rid, a section that no way leaves, a result that is read through at once. Whether what is given back on one
way is given back on all is the verifier's to find out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from holdfast.btf import essential_name
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Func, FuncProto, Ptr
from holdfast.elf.spec import ProgramSpec, ReferenceKind
from holdfast.insn.balance import Depths, depths, follows
from holdfast.insn.flow import callee, function_starts
from holdfast.insn.instruction import CALL, LD_IMM64, Instruction, Opclass
from holdfast.kernels.facts import KernelFacts
from holdfast.needs.stream import static_starts
from holdfast.predict.context import Loaded
from holdfast.predict.relocated import Relocated
from holdfast.rules import held, helpers
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.held import Section
from holdfast.terms import MapType, ProgramType

__all__ = ["left_held", "null_arguments", "unchecked_results"]

Calls: TypeAlias = Mapping[tuple[str, object], Sequence[int]]
"""("helper", number) and ("kfunc", name) -> the slots that call it."""
_Found: TypeAlias = Iterator[tuple[Ruling, list[int]]]

_LEAK: Final = "check_reference_leak in kernel/bpf/verifier.c"
_NAMES: Final = {
    Section.LOCK: "bpf_spin_lock",
    Section.RCU: "the section of bpf_rcu_read_lock",
    Section.PREEMPT: "the section of bpf_preempt_disable",
    Section.IRQ: "the section of bpf_local_irq_save",
}
_ACQUIRES: Final = frozenset({"ACQUIRE", "ITER_NEW"})
_RELEASES: Final = frozenset({"RELEASE", "ITER_DESTROY"})
_ADDS: Final = ("bpf_list_push_", "bpf_rbtree_add", "bpf_list_add")  # take over without KF_RELEASE
# Where it gets an owning reference it gives one (check_kfunc_call: arg_owning_ref, 7793fc3babe9, 6.6).
_SURE: Final = "bpf_refcount_acquire"
_MAY_BE_NULL: Final = ("__nullable", "__opt", "__ign", "__prog", "__aux", "aux")
_LOOKUP: Final = 1  # bpf_map_lookup_elem
_ARRAYS: Final = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_MAPS: Final = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is the same on all kernels: the calls that may acquire (``acquiring``), by slot; the slots that
    enter a section which nothing after them leaves (``left``).
    """

    acquiring: Mapping[int, tuple[str, object]]
    left: Mapping[Section, Sequence[int]]
    depths: Depths | None
    unchecked: Mapping[int, tuple[int | str, int]]


def left_held(loaded: Loaded, program: ProgramSpec, relocated: Relocated, calls: Calls) -> _Found:
    """Rulings that are no plain yes, each with the slots that it is about."""
    shape = _shape(program, relocated, calls)
    # What dequeues a packet may return it (KF_ACQUIRE, bpf_qdisc, 6.16).
    if program.type is not ProgramType.STRUCT_OPS:
        for slot, call in shape.acquiring.items():
            if not loaded.facts.work(_acquires, call, program.type):
                continue
            work_out = partial(_called_after, relocated.insns, slot, _by_slot(calls))
            later = relocated.remember(("called after", slot), work_out)
            ruling = loaded.facts.work(_leak, call, later, program.type)
            if ruling.allowed is Allowed.NO:
                yield ruling, [slot]
    for section, slots in shape.left.items():
        yield Ruling(Allowed.NO, f"it never leaves {_NAMES[section]}", _LEAK), list(slots)
    yield from _sections(loaded, program, relocated, calls, shape)


def unchecked_results(loaded: Loaded, program: ProgramSpec, relocated: Relocated, calls: Calls) -> _Found:
    """The same of loads and stores through what a helper gave, on the straight way from the call."""
    shape = _shape(program, relocated, calls)
    types = {}
    if any(name == _LOOKUP for name, _ in shape.unchecked.values()):
        maps = {one.name: one.type for one in loaded.spec.maps}
        references = (r for r in program.references if r.kind is ReferenceKind.MAP)
        types = {r.slot: maps.get(r.name) for r in references}
    for slot, (name, call) in shape.unchecked.items():
        told = helpers.helper_name(name) if isinstance(name, int) else name
        if isinstance(name, str):
            flags = loaded.facts.kfunc_flags(essential_name(name), program.type)
            if flags is None or "RET_NULL" not in flags or name.startswith(_SURE):
                continue
        elif name == _LOOKUP:
            kind = _looked_up(relocated.insns, call, types)
            if kind is None or kind in _MAPS:
                continue
            if kind in _ARRAYS and loaded.facts.rule(held.lookup_known):
                continue
        why = f"it uses what {told} gives and does not ask whether that is null"
        yield Ruling(Allowed.NO, why, "check_mem_access in kernel/bpf/verifier.c"), [slot]


def null_arguments(loaded: Loaded, program: ProgramSpec, relocated: Relocated, calls: Calls) -> _Found:
    """The same of calls that pass a plain null where a kfunc takes none."""
    passed = relocated.remember("null arguments", lambda: _nulls(relocated.insns, calls))
    for (name, registers), slots in passed.items():
        ruling = loaded.facts.work(_null, essential_name(name), registers, program.type)
        if ruling.allowed is Allowed.NO:
            yield ruling, slots


def _nulls(insns: Sequence[Instruction], calls: Calls) -> dict[tuple[str, tuple[int, ...]], list[int]]:
    """(kfunc, registers that are 0 on the straight way to the call) -> the slots of such calls."""
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for (kind, name), slots in calls.items():
        if kind == "kfunc":
            for slot in slots:
                registers = _zeros(insns, slot)
                if registers:
                    found.setdefault((str(name), registers), []).append(slot)
    return found


def _zeros(insns: Sequence[Instruction], call: int) -> tuple[int, ...]:
    """Which of r1 to r5 were set to 0 last before the call."""
    open_registers = {1, 2, 3, 4, 5}
    found = []
    for slot in range(call - 1, max(call - 20, -1), -1):
        op, dst, src, _, imm = insns[slot]
        if not op or op == LD_IMM64:
            open_registers.discard(dst if op else 0)
        elif op & 0x07 in (Opclass.JMP, Opclass.JMP32):
            break
        elif op & 0x07 in (Opclass.ALU, Opclass.ALU64, Opclass.LDX) and dst in open_registers:
            open_registers.discard(dst)
            if op in (0xB7, 0xB4) and not imm and not src:
                found.append(dst)
    return tuple(sorted(found))


def _null(
    facts: KernelFacts, ask: Ask, name: str, registers: tuple[int, ...], program_type: ProgramType
) -> Ruling:
    place = facts.function(name)
    kind = place.btf.type(place.type_id) if place else None
    if place is None or not isinstance(kind, Func):
        return Ruling(Allowed.YES)
    _, proto = skip_mods_and_typedefs(place.btf, kind.type_id)
    flags = facts.kfunc_flags(name, program_type)
    if not isinstance(proto, FuncProto) or flags is None or not held.takes_no_null(flags, ask):
        return Ruling(Allowed.YES)
    for register in registers:
        param = proto.params[register - 1] if register <= len(proto.params) else None
        if param is None or not param.type_id or param.name.endswith(_MAY_BE_NULL):
            continue
        _, shape = skip_mods_and_typedefs(place.btf, param.type_id)
        if isinstance(shape, Ptr):
            why = f"it passes null as {param.name} of {name}"
            return Ruling(Allowed.NO, why, "check_kfunc_args in kernel/bpf/verifier.c")
    return Ruling(Allowed.YES)


def _shape(program: ProgramSpec, relocated: Relocated, calls: Calls) -> _Shape:
    return relocated.remember("held", lambda: _shaped(program, relocated.insns, calls))


def _shaped(program: ProgramSpec, insns: Sequence[Instruction], calls: Calls) -> _Shape:
    acquiring = {slot: call for call, slots in calls.items() if _may_acquire(call) for slot in slots}
    left: dict[Section, list[int]] = {}
    steps = {}
    for call, slots in calls.items():
        section, step = _step(call)
        if section is not None:
            change = tuple(step if one is section else 0 for one in Section)
            steps.update(dict.fromkeys(slots, change))
        if section is not None and step > 0:
            for slot in slots:
                names = _called_after(insns, slot, _by_slot(calls))
                if (section, -1) not in map(_step, names):
                    left.setdefault(section, []).append(slot)
    found = depths(insns, steps, len(Section), static_starts(program)) if steps else None
    unchecked: dict[int, tuple[int | str, int]] = {}
    for (kind, name), slots in calls.items():
        if kind == "kfunc" or name in held.NULLABLE:
            for slot in slots:
                used = _used_at_once(insns, slot)
                if used is not None:
                    assert isinstance(name, int | str)
                    unchecked[used] = (name, slot)
    return _Shape(acquiring, left, found, unchecked)


def _by_slot(calls: Calls) -> Mapping[int, tuple[str, object]]:
    return {slot: call for call, slots in calls.items() for slot in slots}


def _called_after(
    insns: Sequence[Instruction], slot: int, by_slot: Mapping[int, tuple[str, object]]
) -> frozenset[tuple[str, object]]:
    """What may be called after the call at ``slot``: what a function acquires its callers may release."""
    starts = function_starts(insns)
    at = bisect_right(starts, slot)
    end = starts[at] if at < len(starts) else len(insns)
    later = range(len(insns)) if at > 1 else follows(insns, slot, 0, end)
    return frozenset(by_slot[one] for one in later if one in by_slot)


def _may_acquire(call: tuple[str, object]) -> bool:
    """Whether it could be a call that acquires: of kfuncs those that enter or leave a section do not."""
    return call[1] in held.ACQUIRED if call[0] == "helper" else _step(call)[0] is None


def _step(call: tuple[str, object]) -> tuple[Section | None, int]:
    """What a call enters (1) or leaves (-1)."""
    name: Any = call[1] if call[0] == "helper" else essential_name(str(call[1]))
    return held.SECTIONS.get(name, (None, 0))


def _acquires(facts: KernelFacts, _: Ask, call: tuple[str, object], program_type: ProgramType) -> bool:
    kind, name = call
    if kind == "kfunc":
        return bool((facts.kfunc_flags(essential_name(str(name)), program_type) or frozenset()) & _ACQUIRES)
    return name in held.ACQUIRED


def _leak(
    facts: KernelFacts,
    _: Ask,
    call: tuple[str, object],
    later: frozenset[tuple[str, object]],
    program_type: ProgramType,
) -> Ruling:
    """Whether what this call, which acquires, gives is surely left over."""
    kind, name = call
    if kind == "kfunc":
        ends: frozenset[int] = frozenset()
        told = str(name)
    else:
        assert isinstance(name, int)
        ends = held.ACQUIRED[name]
        told = helpers.helper_name(name)
    for what, other in later:
        if what == "helper":
            if other in ends or other in held.TAKES_OVER:
                return Ruling(Allowed.YES)
        elif what == "kfunc":
            real = essential_name(str(other))
            flags = facts.kfunc_flags(real, program_type)
            if flags is None or flags & _RELEASES or real.startswith(_ADDS):
                return Ruling(Allowed.YES)
    return Ruling(Allowed.NO, f"it never gives back what {told} gives", _LEAK)


def _sections(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated, calls: Calls, shape: _Shape
) -> _Found:
    found, left = shape.depths, shape.left
    if found is None:
        return
    for section in Section:
        if section not in left and found.exits and all(depth[section] for depth in found.exits.values()):
            why = f"it ends and has not left {_NAMES[section]}"
            yield Ruling(Allowed.NO, why, _LEAK), list(found.exits)
    locked = [slot for slot, depth in found.at.items() if depth[Section.LOCK]]
    if locked:
        yield from _while_locked(loaded, relocated.insns, calls, frozenset(locked))
    unable = [Section.RCU, Section.PREEMPT, Section.IRQ]
    for (kind, name), slots in calls.items():
        inside = [s for s in slots if s in found.at and any(found.at[s][one] for one in unable)]
        if inside and _sleeps(loaded, program, kind, name):
            told = helpers.helper_name(name) if isinstance(name, int) else str(name)
            why = f"it calls {told}, which may sleep, where nothing may"
            yield Ruling(Allowed.NO, why, "check_helper_call, check_kfunc_call"), inside


def _sleeps(loaded: Loaded, program: ProgramSpec, kind: str, name: object) -> bool:
    if kind == "helper":
        return name in held.SLEEPING_HELPERS
    if kind != "kfunc":
        return False
    return "SLEEPABLE" in (loaded.facts.kfunc_flags(essential_name(str(name)), program.type) or ())


def _while_locked(
    loaded: Loaded, insns: Sequence[Instruction], calls: Calls, locked: frozenset[int]
) -> _Found:
    for (kind, name), slots in calls.items():
        inside = [slot for slot in slots if slot in locked]
        if inside and kind == "helper":
            ruling = loaded.facts.rule(held.call_while_locked, name)
            if ruling.allowed is Allowed.NO:
                yield ruling, inside
    own = [slot for slot in locked if insns[slot].opcode == CALL and callee(insns, slot) is not None]
    if own:
        ruling = loaded.facts.rule(held.call_while_locked, None)
        if ruling.allowed is Allowed.NO:
            yield ruling, own


def _used_at_once(insns: Sequence[Instruction], call: int) -> int | None:
    """The slot that reads or writes through the call's result before anything else could look at it."""
    held_in = {0}
    for slot in range(call + 1, len(insns)):
        op, dst, src, off, _ = insns[slot]
        kind = op & 0x07
        if kind == Opclass.LDX and src in held_in:
            return slot
        if kind in (Opclass.ST, Opclass.STX) and dst in held_in:
            return slot
        if kind in (Opclass.JMP, Opclass.JMP32) or op == LD_IMM64:
            if op != LD_IMM64:
                return None
            held_in.discard(dst)
        elif kind in (Opclass.ALU, Opclass.ALU64, Opclass.LDX):
            if op == 0xBF and off == 0 and src in held_in:
                held_in.add(dst)
            else:
                held_in.discard(dst)
        if not held_in:
            return None
    return None


def _looked_up(insns: Sequence[Instruction], call: int, types: Mapping[int, object]) -> object:
    """The type of the map that is in r1 at the call; None where that cannot be told."""
    for slot in range(call - 1, -1, -1):
        op, dst, _, _, _ = insns[slot]
        if slot in types and dst == 1 and op == LD_IMM64:
            return types[slot]
        if op & 0x07 in (Opclass.JMP, Opclass.JMP32):
            return None
        if dst == 1 and op and op & 0x07 in (Opclass.ALU, Opclass.ALU64, Opclass.LDX):
            return None
    return None
