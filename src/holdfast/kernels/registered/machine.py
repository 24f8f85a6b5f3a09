# SPDX-License-Identifier: Apache-2.0
"""What is known of registers, flags and stack at one place of a path, and what instructions make of it.

Values are unsigned numbers, or unknown. Whatever is not modelled leaves its results unknown.
"""

from __future__ import annotations

from typing import Final

from holdfast.kernels.registered.disasm import Imm, Instruction, Mem, Operand, Reg
from holdfast.kernels.registered.space import Space

__all__ = ["STACK", "Machine"]

STACK: Final = 0x7FFF_FFF0_0000
_ROOM: Final = 1 << 20  # bytes to both sides of it are stack
_MASK: Final = (1 << 64) - 1
# arch/x86: what a call may change
_SCRATCH: Final = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")
_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_RSP, _RBP = Reg("rsp", 8), Reg("rbp", 8)
_OPPOSITES: Final = (("e", "ne"), ("b", "ae"), ("be", "a"), ("s", "ns"), ("l", "ge"), ("le", "g"))
_NEGATED: Final = {a: b for pair in _OPPOSITES for a, b in (pair, pair[::-1])}
_NOTHING: Final = frozenset({"nop", "endbr64", "int3", "pause", "lfence", "cld", "cli", "sti"})


class Machine:
    """One state. ``flags`` are the two numbers that were compared last, and their size in bytes; the second
    is None where only the result, the first, counts. ``tested`` is the register that decides about them
    while it is unknown, with its size and what it is compared with; ``supposed`` are the conditions of which
    one outcome was chosen for this path.
    """

    __slots__ = ("escaped", "flags", "loads", "registers", "slots", "space", "supposed", "tested")

    def __init__(self, space: Space, registers: dict[str, int] | None = None) -> None:
        self.space = space
        self.registers = {"rsp": STACK, **(registers or {})}
        self.slots: dict[int, tuple[int, int]] = {}
        self.flags: tuple[int, int | None, int] | None = None
        self.tested: tuple[str, int, int] | None = None
        self.supposed: frozenset[str] = frozenset()
        self.escaped = False
        self.loads: set[tuple[int, int]] = set()

    def copy(self) -> Machine:
        """Another one that goes on from here; ``loads`` is shared."""
        other = Machine.__new__(Machine)
        other.space, other.loads, other.escaped = self.space, self.loads, self.escaped
        other.flags, other.tested, other.supposed = self.flags, self.tested, self.supposed
        other.registers = dict(self.registers)
        other.slots = dict(self.slots)
        return other

    def key(self) -> tuple[object, ...]:
        """Two states of one key go on alike."""
        return (
            frozenset(self.registers.items()),
            frozenset(self.slots.items()),
            self.flags,
            self.tested,
            self.supposed,
            self.escaped,
        )

    # -- operands

    def value(self, operand: Operand) -> int | None:
        """What a register, number or place in memory holds."""
        match operand:
            case Imm(value):
                return value
            case Reg(name, size, high):
                whole = self.registers.get(name)
                if whole is None:
                    return self.registers.get(_part(name, size)) if not high else None
                return (whole >> 8 if high else whole) & ((1 << 8 * size) - 1)
            case Mem():
                at = self.address(operand)
                return None if at is None else self.load(at, operand.size)
        return None

    def address(self, place: Mem) -> int | None:
        """Where a place in memory is."""
        if place.opaque:
            return None
        total = place.displacement
        for name, scale in ((place.base, 1), (place.index, place.scale)):
            if name:
                part = self.registers.get(name)
                if part is None:
                    return None
                total += part * scale
        return total & _MASK

    def load(self, at: int, size: int) -> int | None:
        """What memory holds, where that is sure."""
        if _on_stack(at):
            slot = self.slots.get(at)
            return slot[1] & ((1 << 8 * size) - 1) if slot and slot[0] >= size else None
        found = self.space.fixed(at, size)
        if found is not None:
            self.loads.add((at, size))
        return found

    def store(self, operand: Operand, value: int | None) -> None:
        """Put a value, or an unknown one, into a register or memory."""
        match operand:
            case Reg(name, size, high):
                whole = self.registers.get(name)
                self._forget(name)
                if size >= 4:
                    if value is not None:
                        self.registers[name] = value & (0xFFFF_FFFF if size == 4 else _MASK)
                elif value is not None:
                    shift = 8 if high else 0
                    mask = ((1 << 8 * size) - 1) << shift
                    if whole is not None:
                        self.registers[name] = whole & ~mask | value << shift & mask
                    elif not high:
                        self.registers[_part(name, size)] = value & mask
            case Mem():
                at = self.address(operand)
                if at is None:
                    if self.escaped:
                        self.slots.clear()
                elif _on_stack(at):
                    self._wipe(at, operand.size)
                    if value is not None:
                        self.slots[at] = (operand.size, value & ((1 << 8 * operand.size) - 1))

    def _set_flags(self, flags: tuple[int, int | None, int] | None) -> None:
        self.flags, self.tested, self.supposed = flags, None, frozenset()

    def _forget(self, name: str) -> None:
        for part in (name, _part(name, 1), _part(name, 2)):
            self.registers.pop(part, None)
        if self.tested and self.tested[0] == name:
            self.tested = None

    def _wipe(self, at: int, size: int) -> None:
        for place in [p for p, (width, _) in self.slots.items() if p < at + size and at < p + width]:
            del self.slots[place]

    # -- instructions

    def called(self) -> None:
        """What remains after a call of a function that is not looked into."""
        if any(_on_stack(self.registers.get(name, 0)) for name in _ARGUMENTS):
            self.escaped = True
        for name in _SCRATCH:
            self._forget(name)
        self._set_flags(None)
        if self.escaped:
            self.slots.clear()

    def push(self, value: int | None) -> None:
        """As ``push`` of 64 bits."""
        top = self.registers.get("rsp")
        if top is None:
            return
        top = (top - 8) & _MASK
        self.registers["rsp"] = top
        self._wipe(top, 8)
        if value is not None:
            self.slots[top] = (8, value)

    def pop(self) -> int | None:
        """As ``pop`` of 64 bits."""
        top = self.registers.get("rsp")
        if top is None:
            return None
        self.registers["rsp"] = (top + 8) & _MASK
        return self.load(top, 8)

    def step(self, instruction: Instruction) -> None:
        """Carry out one that neither jumps nor calls."""
        name = instruction.name
        if name in _NOTHING:
            return
        operands = instruction.operands
        match name, len(operands):
            case "mov" | "movabs" | "movzx", 2:
                self.store(operands[0], self.value(operands[1]))
            case "movsx" | "movsxd" | "cdqe", 2:
                self.store(operands[0], _signed(self.value(operands[1]), _size(operands[1])))
            case "lea", 2:
                place = operands[1]
                self.store(operands[0], self.address(place) if isinstance(place, Mem) else None)
            case "push", 1:
                self.push(self.value(operands[0]))
            case "pop", 1:
                self.store(operands[0], self.pop())
            case "cmp" | "test", 2:
                self._compare(name, operands)
            case "xor" | "sub", 2 if isinstance(operands[0], Reg) and operands[0] == operands[1]:
                self._result(operands[0], 0, name, 0, 0)
            case "add" | "sub" | "and" | "or" | "xor" | "shl" | "shr" | "inc" | "dec", 1 | 2:
                self._arithmetic(name, operands)
            case "sbb", 2 if isinstance(operands[0], Reg) and operands[0] == operands[1]:
                borrow = self.condition("b")
                self.store(operands[0], None if borrow is None else -int(borrow))
                self._set_flags(None)
            case "leave", 0:
                self.store(_RSP, self.value(_RBP))
                self.store(_RBP, self.pop())
            case "xchg", 2:
                first, second = self.value(operands[0]), self.value(operands[1])
                self.store(operands[0], second)
                self.store(operands[1], first)
            case _ if name.startswith("set") and len(operands) == 1:
                outcome = self.condition(name[3:])
                self.store(operands[0], None if outcome is None else int(outcome))
            case _ if name.startswith("cmov") and len(operands) == 2:
                self._choose(self.condition(name[4:]), operands)
            case _:
                self._unknown(instruction)

    def _unknown(self, instruction: Instruction) -> None:
        for name in instruction.writes:
            self._forget(name)
        if instruction.changes_flags:
            self._set_flags(None)
        for operand in instruction.operands:
            if isinstance(operand, Mem):
                at = self.address(operand)
                if at is None:
                    if self.escaped:
                        self.slots.clear()
                elif _on_stack(at):
                    self._wipe(at, 64)  # the widest register

    def _compare(self, name: str, operands: tuple[Operand, ...]) -> None:
        self._set_flags(None)
        first, second = self.value(operands[0]), self.value(operands[1])
        size = _size(operands[0])
        mask = (1 << 8 * size) - 1
        if first is not None and second is not None:
            if name == "test":
                self.flags = first & second & mask, 0, size
            else:
                self.flags = first & mask, second & mask, size
        elif isinstance(operands[0], Reg) and not operands[0].high and size >= 4:
            if name == "test" and operands[0] == operands[1]:
                self.tested = operands[0].name, size, 0
            elif name == "cmp" and second is not None:
                self.tested = operands[0].name, size, second & mask

    def _arithmetic(self, name: str, operands: tuple[Operand, ...]) -> None:
        first = self.value(operands[0])
        second = self.value(operands[1]) if len(operands) == 2 else 1
        if first is None or second is None:
            known = None
            if name == "and" and 0 in (first, second):
                known = 0
            self._set_flags(None)
            self.store(operands[0], known)
            return
        match name:
            case "add" | "inc":
                total = first + second
            case "sub" | "dec":
                total = first - second
            case "and":
                total = first & second
            case "or":
                total = first | second
            case "xor":
                total = first ^ second
            case "shl":
                total = first << (second & 63)
            case _:
                total = first >> (second & 63)
        self._result(operands[0], total, name, first, second)

    def _result(self, target: Operand, total: int, name: str, first: int, second: int) -> None:
        size = _size(target)
        mask = (1 << 8 * size) - 1
        total &= mask
        if name == "sub":
            self._set_flags((first & mask, second & mask, size))
        elif name in ("and", "or", "xor"):
            self._set_flags((total, 0, size))
        else:
            self._set_flags((total, None, size))
        self.store(target, total)

    def _choose(self, outcome: bool | None, operands: tuple[Operand, ...]) -> None:
        taken, kept = self.value(operands[1]), self.value(operands[0])
        if outcome or (outcome is None and taken == kept):
            self.store(operands[0], taken)
        elif outcome is None:
            self.store(operands[0], None)
        else:
            self.store(operands[0], kept)  # 32 bits are extended even then

    # -- conditions

    def condition(self, code: str) -> bool | None:
        """Whether a condition (``e``, ``ae`` ...) holds, None where that is not known."""
        if code in self.supposed:
            return True
        if _NEGATED.get(code) in self.supposed:
            return False
        if self.flags is None:
            return None
        first, second, size = self.flags
        sign = 1 << (8 * size - 1)
        if second is None:
            return {
                "e": first == 0,
                "ne": first != 0,
                "s": bool(first & sign),
                "ns": not first & sign,
            }.get(code)
        difference = (first - second) & ((sign << 1) - 1)
        left = first - ((first & sign) << 1)
        right = second - ((second & sign) << 1)
        return {
            "e": first == second,
            "ne": first != second,
            "a": first > second,
            "ae": first >= second,
            "b": first < second,
            "be": first <= second,
            "g": left > right,
            "ge": left >= right,
            "l": left < right,
            "le": left <= right,
            "s": bool(difference & sign),
            "ns": not difference & sign,
        }.get(code)

    def suppose(self, code: str, holds: bool) -> None:
        """Go on where an unknown condition came out like that: whoever looks at the same flags again sees the
        same, and an equality tells what a register holds."""
        if code in _NEGATED:
            self.supposed |= {code if holds else _NEGATED[code]}
        if self.tested and code == ("e" if holds else "ne"):
            name, _, number = self.tested
            self.registers[name] = number

    @staticmethod
    def asks(instruction: Instruction) -> str:
        """The condition that an instruction which does not jump makes its result depend on; "" for none."""
        name = instruction.name
        if name.startswith("set"):
            return name[3:]
        if name.startswith("cmov"):
            return name[4:]
        same = len(instruction.operands) == 2 and instruction.operands[0] == instruction.operands[1]
        return "b" if name == "sbb" and same else ""


def _part(name: str, size: int) -> str:
    """Where the low bytes of a register are kept while the whole is unknown."""
    return f"{name}:{size}"


def _size(operand: Operand) -> int:
    return operand.size if isinstance(operand, Reg | Mem) else 8


def _signed(value: int | None, size: int) -> int | None:
    if value is None:
        return None
    sign = 1 << (8 * size - 1)
    return (value ^ sign) - sign


def _on_stack(address: int) -> bool:
    return STACK - _ROOM <= address < STACK + _ROOM
