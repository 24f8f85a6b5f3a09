# SPDX-License-Identifier: Apache-2.0
"""The order in which the verifier first visits instructions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.insn.flow import STRAIGHT, callee, jump_target, successors
from holdfast.insn.instruction import Instruction

__all__ = ["visit_order"]


def visit_order(
    insns: Sequence[Instruction], live: Collection[int], static_subprogs: Collection[int]
) -> list[int]:
    """Live slots in the order of a first visit: straight on before the jump, into a static callee at its
    call.

    ``do_check()`` pushes the branch that is taken and goes on with the next instruction; global functions
    come after the main one (before v6.8 they came first, which this does not follow).
    """
    statics = set(static_subprogs)
    alive = live if isinstance(live, (set, frozenset)) else set(live)
    seen: set[int] = set()
    order: list[int] = []
    starts = [0, *sorted(slot for slot in alive)]
    for start in starts:
        work = [start]
        while work:
            slot = work.pop()
            while slot not in seen and slot in alive:
                seen.add(slot)
                order.append(slot)
                if insns[slot].opcode & 0x07 in STRAIGHT:
                    slot += 1
                    continue
                target = jump_target(insns, slot)
                following = [n for n in successors(insns, slot) if n not in seen]
                # the last one pushed is visited first
                following.sort(key=lambda n: n != target)
                work += following
                called = callee(insns, slot)
                if called is not None and called in statics:
                    work.append(called)
                break
    return order
