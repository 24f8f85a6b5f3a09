# SPDX-License-Identifier: Apache-2.0
"""A few words to write instruction streams with."""

from __future__ import annotations

from holdfast.insn import Instruction

__all__ = ["EXIT", "call", "call_pc", "goto", "if_", "ldx", "lddw", "mov", "mov_reg", "st", "stx"]

EXIT = Instruction(0x95, 0, 0, 0, 0)
JUMPS = {"==": 0x15, "!=": 0x55, ">": 0x25, "<": 0xA5, ">=": 0x35, "s<": 0xC5, "&": 0x45}


def mov(dst: int, imm: int) -> Instruction:
    return Instruction(0xB7, dst, 0, 0, imm)


def mov_reg(dst: int, src: int) -> Instruction:
    return Instruction(0xBF, dst, src, 0, 0)


def lddw(dst: int, value: int = 0, src: int = 0) -> tuple[Instruction, Instruction]:
    low = (value & 0xFFFFFFFF) - (1 << 32 if value & 0x80000000 else 0)
    return Instruction(0x18, dst, src, 0, low), Instruction(0, 0, 0, 0, value >> 32)


def if_(dst: int, sign: str, imm: int, off: int) -> Instruction:
    return Instruction(JUMPS[sign], dst, 0, off, imm)


def goto(off: int) -> Instruction:
    return Instruction(0x05, 0, 0, off, 0)


def call(number: int) -> Instruction:
    return Instruction(0x85, 0, 0, 0, number)


def call_pc(distance: int) -> Instruction:
    return Instruction(0x85, 0, 1, 0, distance)


def stx(base: int, off: int, src: int, op: int = 0x7B) -> Instruction:
    return Instruction(op, base, src, off, 0)


def st(base: int, off: int, imm: int, op: int = 0x7A) -> Instruction:
    return Instruction(op, base, 0, off, imm)


def ldx(dst: int, base: int, off: int, op: int = 0x79) -> Instruction:
    return Instruction(op, dst, base, off, 0)
