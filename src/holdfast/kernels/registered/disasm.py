# SPDX-License-Identifier: Apache-2.0
"""x86-64 instructions one by one, by capstone: the only module that knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from holdfast.kernels.registered.space import Space

__all__ = ["Imm", "Instruction", "Mem", "Operand", "Reg", "X86Reader"]

_LONGEST: Final = 15  # bytes of an instruction
_SEGMENTS: Final = frozenset({"fs", "gs"})


@dataclass(frozen=True, slots=True)
class Reg:
    """A part of a general register: ``name`` is that of all 64 bits, ``size`` in bytes; ``high`` is ah and
    the like."""

    name: str
    size: int
    high: bool = False


@dataclass(frozen=True, slots=True)
class Imm:
    """A number, or the target of a jump or call, as 64 unsigned bits."""

    value: int


@dataclass(frozen=True, slots=True)
class Mem:
    """Memory: registers by the name of all 64 bits, "" for none; ``rip`` is already worked in.

    ``opaque`` tells that a segment register takes part, so that the address cannot be known.
    """

    base: str
    index: str
    scale: int
    displacement: int
    size: int
    opaque: bool


Operand = Reg | Imm | Mem | None
"""None: a register that is not a general one."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """``writes`` are the general registers, by the name of all 64 bits, that it changes at least in part."""

    address: int
    size: int
    name: str
    operands: tuple[Operand, ...]
    writes: frozenset[str]
    changes_flags: bool


class X86Reader:
    """Reads instructions out of a space, and keeps those it has read."""

    def __init__(self, space: Space) -> None:
        # 8 ms to load, and only who reads images needs it
        import capstone

        self._space = space
        self._engine: Any = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._engine.detail = True
        self._reg, self._imm, self._mem = (
            capstone.CS_OP_REG,
            capstone.CS_OP_IMM,
            capstone.CS_OP_MEM,
        )
        self._read: dict[int, Instruction | None] = {}
        self._regs: dict[int, Reg | None] = {}

    def at(self, address: int) -> Instruction | None:
        """The instruction there, None where there is no code or none that can be read."""
        try:
            return self._read[address]
        except KeyError:
            pass
        found = self._read[address] = self._decode(address)
        return found

    def _decode(self, address: int) -> Instruction | None:
        segment = self._space.segment(address)
        if segment is None or not segment.code:
            return None
        start = address - segment.address
        code = bytes(segment.data[start : start + _LONGEST])
        raw = next(self._engine.disasm(code, address, 1), None)
        if raw is None:
            return None
        written = [self._register(number) for number in raw.regs_access()[1]]
        return Instruction(
            address,
            raw.size,
            raw.mnemonic,
            tuple(self._operand(raw, operand) for operand in raw.operands),
            frozenset(register.name for register in written if register),
            any(self._engine.reg_name(number) == "rflags" for number in raw.regs_access()[1]),
        )

    def _operand(self, raw: Any, operand: Any) -> Operand:
        if operand.type == self._reg:
            return self._register(operand.reg)
        if operand.type == self._imm:
            return Imm(operand.imm & 0xFFFF_FFFF_FFFF_FFFF)
        memory = operand.mem
        base = self._engine.reg_name(memory.base) if memory.base else ""
        index = self._engine.reg_name(memory.index) if memory.index else ""
        displacement = memory.disp
        if base == "rip":
            base = ""
            displacement += raw.address + raw.size
        segment = self._engine.reg_name(memory.segment) if memory.segment else ""
        narrow = base in _SMALL or index in _SMALL  # an address of 32 bits
        return Mem(base, index, memory.scale, displacement, operand.size, segment in _SEGMENTS or narrow)

    def _register(self, number: int) -> Reg | None:
        try:
            return self._regs[number]
        except KeyError:
            pass
        found = self._regs[number] = _GENERAL.get(self._engine.reg_name(number))
        return found


def _general() -> dict[str, Reg]:
    table = {}
    for letter in "abcd":
        whole = f"r{letter}x"
        table[whole] = Reg(whole, 8)
        table[f"e{letter}x"] = Reg(whole, 4)
        table[f"{letter}x"] = Reg(whole, 2)
        table[f"{letter}l"] = Reg(whole, 1)
        table[f"{letter}h"] = Reg(whole, 1, high=True)
    for stem in ("si", "di", "bp", "sp"):
        whole = f"r{stem}"
        table[whole] = Reg(whole, 8)
        table[f"e{stem}"] = Reg(whole, 4)
        table[stem] = Reg(whole, 2)
        table[f"{stem}l"] = Reg(whole, 1)
    for number in range(8, 16):
        whole = f"r{number}"
        table[whole] = Reg(whole, 8)
        for suffix, size in (("d", 4), ("w", 2), ("b", 1)):
            table[f"{whole}{suffix}"] = Reg(whole, size)
    return table


_GENERAL: Final = _general()
_SMALL: Final = frozenset(name for name, register in _GENERAL.items() if register.size < 8)
