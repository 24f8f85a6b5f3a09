# SPDX-License-Identifier: Apache-2.0
"""How deep a program is in sections that it enters and leaves, on all its ways at once.

The ways are those of the graph: a branch is followed both ways, whatever is known of what it compares. So
what holds on every way here holds on every way that the verifier walks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from holdfast.insn.flow import callee, successors
from holdfast.insn.instruction import CALL, EXIT, Instruction

__all__ = ["Depths", "depths", "follows"]

Depth: TypeAlias = tuple[int, ...]
"""How often each kind of section was entered and not left."""
_MOST = 4  # deeper is as deep
_BOUND = 20_000  # steps; programs with sections take some hundred


class Depths(NamedTuple):
    """``at`` has the least depth with which each slot is reached, ``exits`` that at each exit of the
    program.
    """

    at: Mapping[int, Depth]
    exits: Mapping[int, Depth]


def depths(
    insns: Sequence[Instruction], steps: Mapping[int, Depth], kinds: int, static: Collection[int]
) -> Depths | None:
    """The depths at all slots that ways from slot 0 lead to; None where there are too many to tell.

    ``steps`` has what the instruction at a slot adds, of each of the ``kinds``; functions that begin at a
    slot of ``static`` are walked with their callers, others are passed by.
    """
    at: dict[int, Depth] = {}
    exits: dict[int, Depth] = {}
    seen: set[tuple[int, Depth, tuple[int, ...]]] = set()
    todo: list[tuple[int, Depth, tuple[int, ...]]] = [(0, (0,) * kinds, ())]
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        if len(seen) > _BOUND:
            return None
        slot, depth, callers = state
        at[slot] = _least(at.get(slot), depth)
        step = steps.get(slot)
        if step is not None:
            depth = tuple([min(max(a + b, 0), _MOST) for a, b in zip(depth, step, strict=True)])
        if insns[slot].opcode == EXIT:
            if callers:
                todo.append((callers[-1], depth, callers[:-1]))
            else:
                exits[slot] = _least(exits.get(slot), depth)
            continue
        target = callee(insns, slot) if insns[slot].opcode == CALL else None
        if target in static and target is not None and len(callers) < 8:
            todo.append((target, depth, (*callers, slot + 1)))
        else:
            todo += [(after, depth, callers) for after in successors(insns, slot)]
    return Depths(at, exits)


def _least(one: Depth | None, other: Depth) -> Depth:
    return other if one is None else tuple(map(min, one, other))


def follows(insns: Sequence[Instruction], slot: int, start: int, end: int) -> frozenset[int]:
    """The slots that may run after ``slot`` in its function (``start`` to ``end``, exclusive), and, whole,
    all other functions where it calls or names any.
    """
    found: set[int] = set()
    todo = list(successors(insns, slot))
    while todo:
        one = todo.pop()
        if one in found or not start <= one < end:
            continue
        found.add(one)
        todo += successors(insns, one)
    if any(callee(insns, one) is not None for one in found):
        found.update(range(end, len(insns)))
        found.update(range(start))
    return frozenset(found)
