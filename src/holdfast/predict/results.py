# SPDX-License-Identifier: Apache-2.0
"""What a program returns, held against what its type and its target let it return."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Func, FuncProto, Kind
from holdfast.elf.spec import ProgramSpec
from holdfast.insn.flow import callee, function_starts
from holdfast.insn.instruction import LD_IMM64, Instruction, Opclass
from holdfast.insn.values import Value
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.context import Loaded
from holdfast.predict.relocated import Relocated
from holdfast.predict.targets import target_function
from holdfast.rules import lsm_hooks, program_types
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.terms import AttachType, ProgramType

__all__ = ["refused_results"]

_MOVES: Final = frozenset({0xB7, 0xB4})  # BPF_ALU64 and BPF_ALU | BPF_MOV | BPF_K
_COPIES: Final = frozenset({0xBF, 0xBC})  # the same | BPF_X
_SOURCE: Final = "check_return_code in kernel/bpf/verifier.c"
_CALLBACKS: Final = "prepare_func_exit, check_return_code in kernel/bpf/verifier.c"
_SETTING: Final = (Opclass.ALU, Opclass.ALU64, Opclass.LDX)
_Range: TypeAlias = tuple[int, int]

# bpf_for_each_map_elem (5.13), bpf_timer_set_callback (5.15), bpf_loop (5.17); the same in the 7.3 tree
_CALLED: Final[dict[int, _Range]] = {164: (0, 1), 170: (0, 0), 181: (0, 1)}
"""Number of a helper that takes a callback as its second argument -> what that may return."""


def refused_results(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated, calls: Mapping[tuple[str, object], object]
) -> Iterator[tuple[Ruling, list[int]]]:
    """Rulings that are no plain yes, each with the slots of the exits that it is about. ``calls`` has the key
    ("helper", number) of each helper that is called.

    Judged are constants alone: that a number is in the range is the verifier's to find out.
    """
    yield from _of_program(loaded, program, relocated)
    if not any(("helper", number) in calls for number in _CALLED):
        return
    callbacks = relocated.remember("callbacks", lambda: _callbacks(relocated.insns))
    for start, limits in callbacks.items():
        values = _choices(relocated.reached.results.get(start))
        one = next((value for value in sorted(values) if not _inside(value, limits)), None)
        if one is not None:
            why = f"a callback returns {_signed(one)}, and it {_told(limits)}"
            yield Ruling(Allowed.NO, why, _CALLBACKS), [start]


def _of_program(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated
) -> Iterator[tuple[Ruling, list[int]]]:
    limits = _limits(loaded, program)
    if limits is None:
        return
    constants = relocated.remember("results", lambda: _constants(relocated.insns))
    if all(_inside(one, limits) for one in constants):
        return
    found: dict[int, list[int]] = {}
    for slot, value in relocated.reached.exits.items():
        for one in sorted(_choices(value)):
            if not _inside(one, limits):
                found.setdefault(_signed(one), []).append(slot)
                break
    for one, slots in found.items():
        why = f"it returns {one}, and {program.type.name} programs of its kind {_told(limits)}"
        yield Ruling(Allowed.NO, why, _SOURCE), slots


def _told(limits: _Range) -> str:
    low, high = limits
    return f"must return {low}" if low == high else f"may return {low} to {high}"


def _choices(value: Value) -> Collection[int]:
    return (value,) if isinstance(value, int) else value if isinstance(value, frozenset) else ()


def _callbacks(insns: Sequence[Instruction]) -> dict[int, _Range]:
    """First slots of callbacks that may return something which their caller does not take."""
    found = {}
    starts: tuple[int, ...] = ()
    for slot, insn in enumerate(insns):
        limits = _CALLED.get(insn.imm) if insn.is_helper_call else None
        if limits is None:
            continue
        start = _second_argument(insns, slot)
        if start is not None:
            starts = starts or (*function_starts(insns), len(insns))
            end = starts[bisect_right(starts, start)]
            if not all(_inside(one, limits) for one in _constants(insns[start:end])):
                found[start] = limits
    return found


def _second_argument(insns: Sequence[Instruction], call: int) -> int | None:
    """First slot of the function whose address is in r2 at a call."""
    for slot in range(call - 1, -1, -1):
        op, dst, _, _, _ = insns[slot]
        if dst == 2 and op == LD_IMM64:
            return callee(insns, slot)
        if op & 0x07 in (Opclass.JMP, Opclass.JMP32) or (dst == 2 and op & 0x07 in _SETTING):
            return None
    return None


def _limits(loaded: Loaded, program: ProgramSpec) -> _Range | None:
    if program.type is ProgramType.LSM:
        hook = target_function(program)
        return None if hook is None else loaded.facts.work(_of_hook, hook, program.attach_type)
    return loaded.facts.rule(program_types.return_range, program.type, program.attach_type)


def _of_hook(facts: KernelFacts, ask: Ask, hook: str, attach_type: AttachType) -> _Range | None:
    place = facts.find(hook, Kind.FUNC)
    if place is None:
        return None
    kind = place.btf.type(place.type_id)
    if isinstance(kind, Func):
        _, kind = skip_mods_and_typedefs(place.btf, kind.type_id)
    if not isinstance(kind, FuncProto):
        return None
    return lsm_hooks.return_range(hook, attach_type, kind.return_type_id == 0, ask)


def _constants(insns: Sequence[Instruction]) -> frozenset[int]:
    """Every constant that is moved to r0 or to a register that is moved there: few, and most are in range."""
    sources = {0}
    sources.update(insn.src for insn in insns if insn.opcode in _COPIES and insn.dst == 0)
    return frozenset(i.imm for i in insns if i.opcode in _MOVES and i.dst in sources)


def _inside(value: int, limits: _Range) -> bool:
    return limits[0] <= _signed(value) <= limits[1]


def _signed(value: int) -> int:
    """As a C ``int``: programs return one, and kernels look at 64 bits or 32."""
    return ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
