# SPDX-License-Identifier: Apache-2.0
"""Which instructions the verifier may reach, given what is known of constants.

The kernel's verifier walks paths and follows only the taken edge of a jump whose operands it knows
(``is_branch_taken()``); code that no path reaches is removed, whatever it calls. That is what makes
``if (bpf_ksym_exists(f)) f();``, ``bpf_core_field_exists()`` and ``if (LINUX_KERNEL_VERSION >= ...)`` work.
Here the same question is answered by propagating constants over the feasible edges only, with states merged
where paths meet (small sets of constants survive the merge, :data:`holdfast.insn.values.MAX_CHOICES`).
Merging forgets, so the answer covers everything that the verifier reaches, and may cover more: a slot that is
not in it is dead for the verifier too.

Known differences to keep in mind:

- Loads of constants from a frozen map are followed by kernels since commit a23740ec43ba ("bpf: Track contents
  of read-only maps as scalars") (in v5.5); pass no knowledge of them for older kernels.
- That a ksym's address is not null prunes branches only where ``reg_not_null()`` lists its register type:
  PTR_TO_MEM (functions, and variables that are no struct) is in it in v6.12 and not yet in v6.1. Pass
  :attr:`Token.UNKNOWN` for such slots where that matters.
- Kernels learned to follow constants through more over time (division, stores of an immediate or of less than
  8 bytes to the stack). Only what all of them follow, v5.10 and later, is followed here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from holdfast.insn.flow import GOTOX, Graph, JumpTables
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
)
from holdfast.insn.values import (
    MASK32,
    MASK64,
    Context,
    Frame,
    MapAddress,
    Pointer,
    Token,
    Value,
    Watched,
    arithmetic,
    compare,
    join,
    sign_extend,
    truncate,
)

__all__ = [
    "ContextAccess",
    "Immediate",
    "MapAddress",
    "Origins",
    "Pointer",
    "PointerAccess",
    "Reached",
    "Token",
    "explore",
    "live_slots",
]

Immediate: TypeAlias = int | Token | MapAddress
"""What a slot's immediate will be when the kernel sees it."""

_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}  # BPF_SIZE of the opcode -> bytes
_MAX_PATH = 8  # loads from an origin; programs follow fewer
_WIDEN_AFTER = 24
"""Visits of one block after which what still changes is given up as unknown: the bound on running time."""

_Stack: TypeAlias = dict[int, tuple[int, Value]]  # offset from r10 -> (size in bytes, value)
_State: TypeAlias = tuple[list[Value], _Stack]
Read: TypeAlias = Callable[[Hashable, int, int], int | Watched | None]


class ContextAccess(NamedTuple):
    """A load from the context or a store to it: ``moved`` bytes were added to the pointer, ``offset`` stands
    in the instruction; ``size`` in bytes.
    """

    moved: int
    offset: int
    size: int


class PointerAccess(NamedTuple):
    """A load or store of ``size`` bytes through a pointer whose origin is known."""

    pointer: Pointer
    size: int


@dataclass(frozen=True, slots=True)
class Origins:
    """Where pointers to the kernel's objects come from: ``calls`` by their slot, and with ``arguments`` all
    loads of 8 bytes from the context (origin: their offset in it).
    """

    arguments: bool
    calls: Mapping[int, Hashable]


@dataclass(frozen=True, slots=True)
class Reached:
    """``slots`` that may run, those of them that access the context at an offset that is known, and those
    that access what a :class:`Pointer` points to.
    """

    slots: frozenset[int]
    context_loads: Mapping[int, ContextAccess]
    context_stores: Mapping[int, ContextAccess]
    pointer_loads: Mapping[int, PointerAccess]
    pointer_stores: Mapping[int, PointerAccess]
    compared: frozenset[Pointer]
    """Pointers that a conditional jump looks at anywhere."""
    exits: Mapping[int, Value]
    """What r0 may hold at each exit of the program itself, functions that it calls left out."""
    results: Mapping[int, Value]
    """The same of each static function, by its first slot."""


def live_slots(
    insns: Sequence[Instruction],
    known: Mapping[int, Immediate] | None = None,
    *,
    known_loads: Callable[[int], int | None] | None = None,
    read: Read | None = None,
    static_subprogs: Collection[int] = (),
    entries: Iterable[int] = (0,),
    jump_tables: JumpTables | None = None,
    graph: Graph | None = None,
) -> frozenset[int]:
    """The slots that may run, both slots of a wide instruction included; a superset of what the verifier
    visits.

    - ``known``: slot -> the immediate that relocation puts there, where ``insns`` does not hold it yet: 0 for
      a missing weak ksym, :attr:`Token.NON_ZERO` for a resolved one, the result of a CO-RE relocation, a
      :class:`MapAddress` for a map value, :attr:`Token.UNKNOWN` where nothing can be said. Slots that are
      absent are taken as they stand, except that an ``lddw`` with a pseudo source is a non-null pointer.
    - ``known_loads(slot)``: the unsigned value that the load at ``slot`` yields, or None.
    - ``read(map, offset, size)``: the unsigned value of ``size`` bytes in a frozen map, for loads through a
      :class:`MapAddress`, or None.
    - ``static_subprogs``: first slots of the functions that the verifier follows with the caller's registers.
      All others are global functions: verified on their own, arguments and result unknown.
    - ``entries``: where to start. Kernels before commit 2afae08c9dcb ("bpf: Validate global subprogs lazily")
      verify global functions even if nothing live calls them: list them here to have that.
    - ``graph``: ``Graph(insns, jump_tables)`` made before, to save its cost.
    """
    return explore(
        insns,
        known,
        known_loads=known_loads,
        read=read,
        static_subprogs=static_subprogs,
        entries=entries,
        jump_tables=jump_tables,
        graph=graph,
    ).slots


def explore(
    insns: Sequence[Instruction],
    known: Mapping[int, Immediate] | None = None,
    *,
    known_loads: Callable[[int], int | None] | None = None,
    read: Read | None = None,
    static_subprogs: Collection[int] = (),
    entries: Iterable[int] = (0,),
    jump_tables: JumpTables | None = None,
    graph: Graph | None = None,
    origins: Origins | None = None,
) -> Reached:
    """:func:`live_slots`, with the loads from the context; r1 points to it where the walk enters slot 0.

    ``origins`` says which pointers are to be followed; by default none is.
    """
    flow = graph if graph is not None else Graph(insns, jump_tables)
    walk = _Walk(flow, known or {}, known_loads, read, frozenset(static_subprogs), origins)
    for entry in entries:
        registers = _unknown_registers()
        if entry == 0:
            registers[1] = Context(0)
        walk.enter(entry, registers)
    slots = walk.run()
    return Reached(
        slots,
        walk.context_loads,
        walk.context_stores,
        walk.pointer_loads,
        walk.pointer_stores,
        frozenset(walk.compared),
        walk.exits,
        walk.results,
    )


def _unknown_registers() -> list[Value]:
    registers: list[Value] = [None] * 16  # 11 exist; a damaged instruction can name 16
    registers[10] = Frame(0)
    return registers


class _Walk:
    """One propagation to the fixed point."""

    def __init__(
        self,
        graph: Graph,
        known: Mapping[int, Immediate],
        known_loads: Callable[[int], int | None] | None,
        read: Read | None,
        static_subprogs: frozenset[int],
        origins: Origins | None,
    ) -> None:
        self.arguments = origins is not None and origins.arguments
        self.calls = origins.calls if origins is not None else {}
        self.graph = graph
        self.known = known
        self.known_loads = known_loads
        self.read = read
        self.static = static_subprogs
        self.states: dict[int, _State] = {}  # first slot of a block -> what holds there
        self.visits: dict[int, int] = {}
        self.queue: list[int] = []
        self.queued: set[int] = set()
        self.context_loads: dict[int, ContextAccess] = {}
        self.context_stores: dict[int, ContextAccess] = {}
        self.pointer_loads: dict[int, PointerAccess] = {}
        self.pointer_stores: dict[int, PointerAccess] = {}
        self.compared: set[Pointer] = set()
        self.exits: dict[int, Value] = {}
        self.results: dict[int, Value] = {}  # static function -> r0 at its exits
        # static function -> slot after a call of it -> state there
        self.waiting: dict[int, dict[int, _State]] = {}

    def run(self) -> frozenset[int]:
        block_end = self.graph.block_end
        while self.queue:
            start = heappop(self.queue)  # lowest slot first: near enough to reverse post-order
            self.queued.discard(start)
            self.visits[start] = self.visits.get(start, 0) + 1
            registers, stack = self.states[start]
            self._block(start, block_end[start], registers.copy(), stack.copy())
        live: set[int] = set()
        for start in self.states:
            live.update(range(start, block_end[start]))
        return frozenset(live)

    def enter(self, slot: int, registers: list[Value], stack: _Stack | None = None) -> None:
        """Merge a state into the block at ``slot``; queue it when that changed anything."""
        if slot >= len(self.graph.insns) or slot < 0:
            return
        if not self.graph.block_end[slot]:
            # Only an entry named by the caller can be inside a block: begin at the block it is in, which
            # covers it.
            while not self.graph.block_end[slot]:
                slot -= 1
            registers, stack = _unknown_registers(), None
        new_stack = stack or {}
        old = self.states.get(slot)
        if old is None:
            self.states[slot] = (registers.copy(), new_stack.copy())
        elif not _merge(old, registers, new_stack, self.visits.get(slot, 0) > _WIDEN_AFTER):
            return
        if slot not in self.queued:
            self.queued.add(slot)
            heappush(self.queue, slot)

    def _block(self, pc: int, end: int, regs: list[Value], stack: _Stack) -> None:
        insns = self.graph.insns
        known = self.known
        while pc < end:
            op, dst, src, off, imm = insns[pc]
            kind = op & 0x07
            if op == 0xBF and off == 0:  # the most frequent of all: move a register
                regs[dst] = regs[src]
            elif kind == 7 or kind == 4:  # ALU64, ALU
                self._alu(op, dst, src, off, known.get(pc, imm), regs)
            elif kind == 1:  # LDX
                regs[dst] = self._load(pc, op, regs[src], off, stack)
            elif kind == 3:  # STX
                self._note_store(pc, op, regs[dst], off)
                if op & 0xE0 == 0xC0:
                    _atomic(op, dst, src, off, imm, regs, stack)
                else:
                    _store(regs[dst], off, _SIZES[op & 0x18], regs[src], stack)
            elif kind == 2:  # ST
                self._note_store(pc, op, regs[dst], off)
                zero = known.get(pc, imm) == 0
                _store(regs[dst], off, _SIZES[op & 0x18], 0 if zero else None, stack)
            elif kind == 0:  # LD
                if op == LD_IMM64:
                    regs[dst] = self._wide(pc, src, imm)
                    if src == PSEUDO_FUNC and imm != -1:
                        self.enter(pc + 1 + imm, _unknown_registers())
                    pc += 2
                    continue
                if op & 0xE0 in (0x20, 0x40):  # LD_ABS, LD_IND: the packet's bytes in r0, r1 to r5 are gone
                    regs[0:6] = [None] * 6
            elif op == CALL:
                if src == PSEUDO_CALL:
                    self._call(pc, pc + 1 + imm, regs, stack)
                    return
                _forget_arguments(regs, stack)
                regs[0:6] = [None] * 6
                if pc in self.calls:
                    regs[0] = Pointer(self.calls[pc])
            elif op == EXIT:
                self._exit(pc, regs[0])
                return
            elif op == GOTOX:
                for target in self.graph.jump_tables[pc]:
                    self.enter(target, regs, stack)
                return
            elif op in (JA, GOTOL):
                self.enter(pc + 1 + (imm if op == GOTOL else off), regs, stack)
                return
            elif op & 0xF0 in (0x80, 0x90):  # CALLX and what no kernel knows
                _forget_arguments(regs, stack)
                regs[0:6] = [None] * 6
            else:
                self._branch(pc, op, dst, src, off, known.get(pc, imm), regs, stack)
                return
            pc += 1
        self.enter(end, regs, stack)

    def _wide(self, pc: int, src: int, imm: int) -> Value:
        value = self.known.get(pc)
        if value is not None:
            if isinstance(value, int):
                return value & MASK64
            return None if value is Token.UNKNOWN else value
        if src:
            return Token.NON_ZERO
        upper = self.graph.insns[pc + 1].imm if pc + 1 < len(self.graph.insns) else 0
        return (upper & MASK32) << 32 | imm & MASK32

    @staticmethod
    def _alu(op: int, dst: int, src: int, off: int, imm: Immediate, regs: list[Value]) -> None:
        is64 = op & 0x07 == 7
        operation = op & 0xF0
        operand: Value
        if op & 0x08:
            operand = regs[src]
        elif isinstance(imm, int):
            operand = imm & MASK64
        else:
            operand = None if imm is Token.UNKNOWN else imm
        if operation == 0xB0:  # MOV
            if off == 0 or not op & 0x08:
                regs[dst] = operand if is64 else truncate(operand, 32)
            elif off in (8, 16, 32):
                regs[dst] = sign_extend(operand, off, to=64 if is64 else 32)
            else:  # addr_space_cast, or what no kernel knows
                regs[dst] = None
        else:
            result = arithmetic(operation, regs[dst], operand, is64=is64)
            regs[dst] = result if is64 or result is not Token.FRAME else None

    def _load(self, pc: int, op: int, base: Value, off: int, stack: _Stack) -> Value:
        size = _SIZES[op & 0x18]
        value: Value = None
        if self.known_loads is not None:
            value = self.known_loads(pc)
        if value is None:
            if type(base) is Frame:
                held = stack.get(base.offset + off)
                if held is not None and held[0] == size:
                    value = held[1]
            elif base is Token.FRAME:
                if any(type(held) is Frame or held is Token.FRAME for _, held in stack.values()):
                    value = Token.FRAME
            elif type(base) is MapAddress and self.read is not None:
                value = self.read(base.map, base.offset + off, size)
            elif type(base) is Context:
                self.context_loads[pc] = ContextAccess(base.offset, off, size)
                self.pointer_loads.pop(pc, None)
                return Pointer(base.offset + off) if self.arguments and size == 8 else None
            elif type(base) is Pointer:
                return self._follow(pc, base, size)
        if self.context_loads:
            self.context_loads.pop(pc, None)  # on another path it is no pointer to the context
        if self.pointer_loads:
            self.pointer_loads.pop(pc, None)
        if value is None or size == 8:
            return value
        return sign_extend(value, size * 8, to=64) if op & 0xE0 == 0x80 else truncate(value, size * 8)

    def _follow(self, pc: int, base: Pointer, size: int) -> Value:
        """A load through a pointer: 8 bytes may be a pointer again."""
        self.context_loads.pop(pc, None)
        self.pointer_loads[pc] = PointerAccess(base, size)
        if size != 8 or len(base.path) >= _MAX_PATH:
            return None
        return Pointer(base.origin, (*base.path, (pc, base.moved)))

    def _note_store(self, pc: int, op: int, base: Value, off: int) -> None:
        if type(base) is Context:
            self.context_stores[pc] = ContextAccess(base.offset, off, _SIZES[op & 0x18])
        elif self.context_stores:
            self.context_stores.pop(pc, None)  # on another path it is no pointer to the context
        if type(base) is Pointer:
            self.pointer_stores[pc] = PointerAccess(base, _SIZES[op & 0x18])
        elif self.pointer_stores:
            self.pointer_stores.pop(pc, None)

    def _branch(
        self, pc: int, op: int, dst: int, src: int, off: int, imm: Immediate, regs: list[Value], stack: _Stack
    ) -> None:
        target = pc + 1 + off
        if op == JCOND:
            self.enter(pc + 1, regs, stack)
            self.enter(target, regs, stack)
            return
        operand: Value
        if op & 0x08:
            operand = regs[src]
        else:
            operand = imm & MASK64 if isinstance(imm, int) else None
        for one in (regs[dst], operand):
            if type(one) is Pointer:
                self.compared.add(one)
        taken, falls, value_taken, value_falls = compare(op & 0xF0, regs[dst], operand, is64=op & 0x07 == 5)
        if falls:
            before = regs[dst]
            regs[dst] = value_falls
            self.enter(pc + 1, regs, stack)
            regs[dst] = before
        if taken:
            regs[dst] = value_taken
            self.enter(target, regs, stack)

    def _call(self, pc: int, target: int, regs: list[Value], stack: _Stack) -> None:
        after = pc + 1
        known = 0 <= target < len(self.graph.insns) and target != pc  # itself: still to be relocated
        if known and target in self.static:
            inside = _unknown_registers()
            for number in range(1, 6):
                argument = regs[number]
                # The caller's frame is not the callee's: what is stored through it is forgotten in the
                # caller, below.
                inside[number] = None if type(argument) is Frame or argument is Token.FRAME else argument
            _forget_arguments(regs, stack)
            regs[0:6] = [None] * 6
            waiting = self.waiting.setdefault(target, {})
            if after in waiting:
                _merge(waiting[after], regs, stack, False)
            else:
                waiting[after] = (regs.copy(), stack.copy())
            self.enter(target, inside)
            if target in self.results:
                regs[0] = self.results[target]
                self.enter(after, regs, stack)
            return
        if known:
            self.enter(target, _unknown_registers())
        _forget_arguments(regs, stack)
        regs[0:6] = [None] * 6
        self.enter(after, regs, stack)

    def _exit(self, pc: int, result: Value) -> None:
        function = self.graph.function_of(pc)
        if function not in self.static:
            if function == 0:
                # The last visit has the widest state.
                self.exits[pc] = result.settle() if type(result) is Watched else result
            return
        if type(result) is Frame or result is Token.FRAME:
            result = None
        if function in self.results:
            merged = join(self.results[function], result)
            if merged == self.results[function]:
                return
            result = merged
        self.results[function] = result
        for after, (registers, stack) in self.waiting.get(function, {}).items():
            returned = registers.copy()
            returned[0] = result
            self.enter(after, returned, stack)


def _merge(old: _State, registers: list[Value], stack: _Stack, widen: bool) -> bool:
    """Join a new state into ``old``, in place; True when that changed it."""
    changed = False
    held, old_stack = old
    for number in range(11):
        a, b = held[number], registers[number]
        if a is not b and a != b:
            joined = join(a, b, widen)
            if joined != a:
                held[number] = joined
                changed = True
    if old_stack != stack:
        for offset in old_stack.keys() | stack.keys():
            before = old_stack.get(offset)
            now = stack.get(offset)
            if before == now:
                continue
            if before is not None and now is not None and before[0] == now[0]:
                value = join(before[1], now[1], widen)
            else:
                value = join(None, before[1] if before else None) or join(None, now[1] if now else None)
            size = (before or now or (8, None))[0]
            if value is None:
                if before is not None:
                    del old_stack[offset]
                    changed = True
            elif before is None or value != before[1]:
                old_stack[offset] = (size, value)
                changed = True
    return changed


def _store(base: Value, off: int, size: int, value: Value, stack: _Stack) -> None:
    if base is Token.FRAME:
        stack.clear()
        return
    if type(base) is not Frame:
        return
    offset = base.offset + off
    _forget(stack, offset, offset + size)
    if type(value) is Watched and size != 8:
        value = 0 if value.is_zero() else None
    if value is not None and (size == 8 or value == 0):
        stack[offset] = (size, value)


def _forget(stack: _Stack, low: int, high: int) -> None:
    """What is held in bytes ``low`` to ``high`` (exclusive, from r10) is no longer known."""
    if stack:
        for offset in [o for o, (size, _) in stack.items() if o < high and o + size > low]:
            del stack[offset]


def _forget_arguments(regs: list[Value], stack: _Stack) -> None:
    """A call may write wherever its arguments, or pointers stored where they point, lead within the own
    frame.

    Upward from the pointer only: compilers give every variable its own bytes, and none points below the one
    it means. A constant in the next register bounds it when it is a size (``ARG_CONST_SIZE`` follows
    ``ARG_PTR_TO_MEM``).
    """
    if not stack:
        return
    todo: list[tuple[int, int]] = []
    for number in range(1, 6):
        argument = regs[number]
        if argument is Token.FRAME:
            stack.clear()
            return
        if type(argument) is Frame:
            size = regs[number + 1] if number < 5 else None
            if type(size) is Watched:
                size = size.settle()
            bounded = type(size) is int and 0 < size <= 512
            todo.append((argument.offset, argument.offset + size if bounded else 0))  # type: ignore[operator]
    while todo:
        low, high = todo.pop()
        for offset, (size, value) in list(stack.items()):
            if offset < high and offset + size > low:
                del stack[offset]
                if value is Token.FRAME:
                    stack.clear()
                    return
                if type(value) is Frame:
                    todo.append((value.offset, 0))


def _atomic(op: int, dst: int, src: int, off: int, imm: int, regs: list[Value], stack: _Stack) -> None:
    size = _SIZES[op & 0x18]
    if imm == 0x100:  # LOAD_ACQ: here src holds the address
        regs[dst] = None
        return
    if imm == 0x110:  # STORE_REL
        _store(regs[dst], off, size, regs[src], stack)
        return
    _store(regs[dst], off, size, None, stack)
    if imm == 0xF1:  # CMPXCHG
        regs[0] = None
    elif imm & 0x01:  # FETCH
        regs[src] = None
