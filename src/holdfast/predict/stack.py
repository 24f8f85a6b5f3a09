# SPDX-License-Identifier: Apache-2.0
"""The stack that a program and the functions that it calls use together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from holdfast.elf.spec import ProgramSpec
from holdfast.insn.flow import callee, function_starts
from holdfast.insn.instruction import CALL, Instruction, Opclass
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.predict.relocated import Relocated
from holdfast.rules import stack
from holdfast.rules.ask import Allowed
from holdfast.terms import Evidence

__all__ = ["stack_reasons"]

_MOVE: Final = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_ADD: Final = 0x07  # BPF_ALU64 | BPF_ADD | BPF_K
_FRAME: Final = 10
_AFTER_WALK: Final = 1 << 30


def stack_reasons(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Reason]:
    """A chain of calls that uses too much, or has too many links. Callbacks are not followed."""
    if len(program.parts) < 2:
        return
    chain = relocated.remember("stack", lambda: _deepest(relocated.insns, None))
    if not _may_be_too_much(chain):
        return
    chain = _deepest(relocated.insns, relocated.live)
    ruling = loaded.facts.rule(stack.chain_accepted, chain, program.type)
    if ruling.allowed is Allowed.NO:
        yield Reason(
            ReasonCode.TOO_LARGE,
            "stack",
            ruling.told,
            Stage.VERIFIER_WALK,
            Evidence.RULE,
            hint="keep large values in a per-CPU array, or inline what is called",
            order=_AFTER_WALK,
        )


def _may_be_too_much(chain: Sequence[int]) -> bool:
    return len(chain) > stack.MAX_CALLS or sum(chain) + 32 * len(chain) > stack.MAX_STACK


def _deepest(insns: Sequence[Instruction], live: Collection[int] | None) -> tuple[int, ...]:
    """Bytes of stack of each function on the chain of calls from the first that uses most, or is longest."""
    starts = function_starts(insns)
    ends = dict(zip(starts, (*starts[1:], len(insns)), strict=True))
    used = {start: _used(insns, start, end, live) for start, end in ends.items()}
    calls: dict[int, list[int]] = {start: [] for start in starts}
    for start, end in ends.items():
        for slot in range(start, end):
            target = callee(insns, slot) if insns[slot].opcode == CALL else None
            if target is not None:
                calls[start].append(target)
    best: tuple[int, ...] = ()
    todo: list[tuple[int, ...]] = [(0,)]
    budget = 10_000  # chains; real programs have a few dozen
    while todo and budget:
        budget -= 1
        path = todo.pop()
        depths = tuple(used[start] for start in path)
        if len(path) > stack.MAX_CALLS * 2:
            return depths
        if (len(path) > stack.MAX_CALLS, _weight(depths)) > (len(best) > stack.MAX_CALLS, _weight(best)):
            best = depths
        todo += [(*path, target) for target in dict.fromkeys(calls[path[-1]]) if target not in path]
    return best


def _weight(depths: Sequence[int]) -> int:
    return sum((max(depth, 1) + 31) // 32 * 32 for depth in depths)


def _used(insns: Sequence[Instruction], start: int, end: int, live: Collection[int] | None) -> int:
    """Bytes below the frame pointer that loads and stores, or pointers for others, lead to."""
    lowest = 0
    for slot in range(start, end):
        if live is not None and slot not in live:
            continue
        insn = insns[slot]
        kind = insn.opcode & 0x07
        base = insn.src if kind == Opclass.LDX else insn.dst if kind in (Opclass.ST, Opclass.STX) else None
        if base == _FRAME:
            lowest = min(lowest, insn.off)
        elif insn.opcode == _ADD and slot > start and insn.imm < 0:
            before = insns[slot - 1]
            if before.opcode == _MOVE and before.src == _FRAME and before.dst == insn.dst and before.off == 0:
                lowest = min(lowest, insn.imm)
    return -lowest
