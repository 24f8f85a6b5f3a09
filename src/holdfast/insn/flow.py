# SPDX-License-Identifier: Apache-2.0
"""Control flow of an instruction stream: edges, functions, blocks, reachability, loops.

Everything here looks at the shape alone; :mod:`holdfast.insn.live` also looks at constants. Streams need not
be valid: an edge that leaves the stream does not exist, and nothing here raises for bad instructions.

A stream is a whole program as the kernel gets it: the main function at slot 0, then its subprograms, call
offsets resolved.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from holdfast.insn.instruction import (
    CALL,
    EXIT,
    GOTOL,
    JA,
    JCOND,
    LD_IMM64,
    PSEUDO_CALL,
    PSEUDO_FUNC,
    Instruction,
    Opclass,
)

__all__ = [
    "GOTOX",
    "STRAIGHT",
    "Graph",
    "back_edges",
    "callee",
    "function_starts",
    "is_conditional",
    "jump_target",
    "reachable",
    "successors",
]

_JUMPS = (Opclass.JMP, Opclass.JMP32)
STRAIGHT = (Opclass.LDX, Opclass.ST, Opclass.STX, Opclass.ALU, Opclass.ALU64)
"""Classes after which the next slot is next: neither jumps nor LD, which has the wide instruction."""
GOTOX = 0x0D  # BPF_JMP | BPF_JA | BPF_X: the target is in dst_reg

JumpTables = Mapping[int, Iterable[int]]
"""Slot of a ``gotox`` -> the slots that it may jump to."""


def jump_target(insns: Sequence[Instruction], slot: int) -> int | None:
    """The slot that a direct jump names (``goto``, ``gotol``, ``may_goto`` or conditional), or None."""
    op, _, _, off, imm = insns[slot]
    if op & 0x07 not in _JUMPS or op == GOTOX or op & 0xF0 in (0x80, 0x90):
        return None
    target = slot + 1 + (imm if op == GOTOL else off)
    return target if 0 <= target < len(insns) else None


def is_conditional(insn: Instruction) -> bool:
    """A jump with two edges: a comparison or ``may_goto``."""
    op = insn.opcode
    if op & 0x07 not in _JUMPS:
        return False
    return op & 0xF0 not in (0x00, 0x80, 0x90) and (op & 0xF0 != 0xE0 or op == JCOND)


def callee(insns: Sequence[Instruction], slot: int) -> int | None:
    """First slot of the function that this bpf2bpf call enters or ``PSEUDO_FUNC`` load names, or None.

    An offset of -1 means the instruction itself: what compilers leave where a relocation is still to come.
    """
    op, _, src, _, imm = insns[slot]
    if (op == CALL and src == PSEUDO_CALL) or (op == LD_IMM64 and src == PSEUDO_FUNC):
        target = slot + 1 + imm
        return target if 0 <= target < len(insns) and imm != -1 else None
    return None


def successors(
    insns: Sequence[Instruction], slot: int, jump_tables: JumpTables | None = None
) -> tuple[int, ...]:
    """The slots that may run right after ``slot`` within its function: fall-through, then jump target.

    A call is passed by (its callee is :func:`callee`'s); ``exit`` has none; a ``gotox`` has those of
    ``jump_tables``, or none where it is not listed.
    """
    op = insns[slot].opcode
    if op == EXIT:
        return ()
    if op == GOTOX:
        size = len(insns)
        return tuple(t for t in (jump_tables or {}).get(slot, ()) if 0 <= t < size)
    follow = slot + (2 if op == LD_IMM64 else 1)
    after = (follow,) if follow < len(insns) else ()
    if op & 0x07 not in _JUMPS:
        return after
    target = jump_target(insns, slot)
    if op in (JA, GOTOL):
        return () if target is None else (target,)
    return after if target is None or target == follow else (*after, target)


def function_starts(insns: Sequence[Instruction]) -> tuple[int, ...]:
    """First slots of all functions: 0, every bpf2bpf callee and every callback, in order."""
    starts = {0}
    for slot, (op, _, src, _, imm) in enumerate(insns):
        if (op == CALL and src == PSEUDO_CALL) or (op == LD_IMM64 and src == PSEUDO_FUNC):
            target = slot + 1 + imm
            if 0 <= target < len(insns) and imm != -1:
                starts.add(target)
    return tuple(sorted(starts))


def reachable(
    insns: Sequence[Instruction],
    assume: Mapping[int, bool] | None = None,
    *,
    entries: Iterable[int] = (0,),
    jump_tables: JumpTables | None = None,
) -> frozenset[int]:
    """Slots that can run when starting at ``entries``, both slots of a wide instruction, callees and
    callbacks included.

    ``assume`` says of conditional jumps, by slot, whether they are taken (True) or not (False).
    """
    assumed = assume or {}
    seen: set[int] = set()
    todo = [entry for entry in entries if 0 <= entry < len(insns)]
    while todo:
        slot = todo.pop()
        if slot in seen:
            continue
        seen.add(slot)
        insn = insns[slot]
        if insn.opcode == LD_IMM64 and slot + 1 < len(insns):
            seen.add(slot + 1)
        if slot in assumed and is_conditional(insn):
            follow = jump_target(insns, slot) if assumed[slot] else slot + 1
            if follow is not None and follow < len(insns):
                todo.append(follow)
            continue
        todo.extend(successors(insns, slot, jump_tables))
        entered = callee(insns, slot)
        if entered is not None:
            todo.append(entered)
    return frozenset(seen)


def back_edges(
    insns: Sequence[Instruction], *, entries: Iterable[int] = (0,), jump_tables: JumpTables | None = None
) -> tuple[tuple[int, int], ...]:
    """Edges (from slot, to slot) that close a loop in a depth-first walk, what ``check_cfg()`` calls a
    back-edge.

    Kernels before commit 2589726d12a1 ("bpf: introduce bounded loops") (in v5.3) refuse any. A jump
    backwards in the stream is not one by itself: compilers also lay blocks out that way.
    """
    found: list[tuple[int, int]] = []
    done: set[int] = set()
    on_path: set[int] = set()
    roots = [entry for entry in entries if 0 <= entry < len(insns)]
    targets = _targets(insns, roots, jump_tables)
    while roots:
        root = roots.pop()
        if root in done:
            continue
        # Each element stands for straight code: where it begins, where it ends, what may come after it.
        stack = [_straight(insns, root, targets, jump_tables)]
        on_path.add(root)
        while stack:
            start, end, rest = stack[-1]
            for follow in rest:
                if follow in on_path:
                    found.append((end, follow))
                elif follow not in done:
                    on_path.add(follow)
                    stack.append(_straight(insns, follow, targets, jump_tables))
                    break
            else:
                stack.pop()
                on_path.discard(start)
                done.add(start)
                entered = callee(insns, end)
                if entered is not None:
                    roots.append(entered)
    return tuple(found)


def _targets(
    insns: Sequence[Instruction], entries: Iterable[int], jump_tables: JumpTables | None
) -> frozenset[int]:
    """Slots that something other than the instruction before them may lead to."""
    found = {*entries}
    for slot, insn in enumerate(insns):
        if insn.opcode & 0x07 in STRAIGHT:
            continue
        if insn.opcode == GOTOX:
            found.update(successors(insns, slot, jump_tables))
        elif insn.opcode == LD_IMM64:
            found.add(slot + 2)  # a damaged stream may also come to it through the second half
        for target in jump_target(insns, slot), callee(insns, slot):
            if target is not None:
                found.add(target)
    return frozenset(found)


def _straight(
    insns: Sequence[Instruction], start: int, targets: frozenset[int], jump_tables: JumpTables | None
) -> tuple[int, int, Iterator[int]]:
    """(first slot, last one, slots after that) of the code that runs from ``start`` to its next jump, wide
    instruction or target.
    """
    end = start
    while insns[end].opcode & 0x07 in STRAIGHT and end + 1 < len(insns) and end + 1 not in targets:
        end += 1
    return start, end, iter(successors(insns, end, jump_tables))


class Graph:
    """Blocks of straight code, worked out once per stream for callers that ask about it again and again.

    ``starts`` are the functions' first slots; ``block_end[slot]`` is the slot after the block that begins at
    ``slot`` (0 where none begins). A block ends at a jump, an exit, a bpf2bpf call, or before the next
    leader.
    """

    __slots__ = ("block_end", "insns", "jump_tables", "starts")

    def __init__(self, insns: Sequence[Instruction], jump_tables: JumpTables | None = None) -> None:
        self.insns = insns
        self.starts = function_starts(insns)
        size = len(insns)
        tables = {
            slot: tuple(t for t in targets if 0 <= t < size) for slot, targets in (jump_tables or {}).items()
        }
        leader = bytearray(size + 1)
        for start in self.starts:
            leader[start] = 1
        ends = bytearray(size + 1)
        for slot, (op, _, src, off, imm) in enumerate(insns):
            if op & 0x07 not in _JUMPS:
                continue
            if op == EXIT:
                ends[slot] = 1
            elif op == CALL:
                ends[slot] = src == PSEUDO_CALL
            elif op == GOTOX:
                ends[slot] = 1
                if slot not in tables:
                    # The table is in a map that was not given: any slot of the function may be next.
                    tables[slot] = self._function(slot)
                for target in tables[slot]:
                    leader[target] = 1
            elif op & 0xF0 not in (0x80, 0x90):
                ends[slot] = 1
                target = slot + 1 + (imm if op == GOTOL else off)
                if 0 <= target < size:
                    leader[target] = 1
            if ends[slot]:
                leader[slot + 1] = 1
        self.jump_tables: dict[int, tuple[int, ...]] = tables
        self.block_end = [0] * size
        begin = 0
        for slot in range(1, size + 1):
            if leader[slot] or slot == size:
                self.block_end[begin] = slot
                begin = slot

    def function_of(self, slot: int) -> int:
        """First slot of the function that ``slot`` is in."""
        return self.starts[bisect_right(self.starts, slot) - 1]

    def _function(self, slot: int) -> tuple[int, ...]:
        index = bisect_right(self.starts, slot)
        end = self.starts[index] if index < len(self.starts) else len(self.insns)
        return tuple(range(self.starts[index - 1], end))
