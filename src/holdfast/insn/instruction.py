# SPDX-License-Identifier: Apache-2.0
"""BPF instructions as values (Documentation/bpf/standardization/instruction-set.rst).

A stream is a tuple with one :class:`Instruction` per 8-byte slot, so that jump targets, relocations and line
info index it directly. The wide ``lddw`` takes two slots; the second has opcode 0 and holds the upper half in
``imm``.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

__all__ = ["INSN_SIZE", "Instruction", "Opclass", "decode", "encode"]

INSN_SIZE: Final = 8
"""Bytes per slot (``sizeof(struct bpf_insn)``)."""


class Opclass:
    """Instruction classes, the low 3 bits of the opcode."""

    LD = 0x00
    LDX = 0x01
    ST = 0x02
    STX = 0x03
    ALU = 0x04  # 32 bit
    JMP = 0x05
    JMP32 = 0x06
    ALU64 = 0x07


BPF_K: Final = 0x00
BPF_X: Final = 0x08
LD_IMM64: Final = 0x18  # BPF_LD | BPF_DW | BPF_IMM
CALL: Final = 0x85  # BPF_JMP | BPF_CALL
CALLX: Final = 0x8D  # BPF_JMP | BPF_CALL | BPF_X
EXIT: Final = 0x95
JA: Final = 0x05
GOTOL: Final = 0x06  # BPF_JMP32 | BPF_JA: 32-bit offset in imm
JCOND: Final = 0xE5  # BPF_JMP | BPF_JCOND: may_goto

PSEUDO_MAP_FD: Final = 1  # src_reg of LD_IMM64
PSEUDO_MAP_VALUE: Final = 2
PSEUDO_BTF_ID: Final = 3
PSEUDO_FUNC: Final = 4
PSEUDO_CALL: Final = 1  # src_reg of CALL
PSEUDO_KFUNC_CALL: Final = 2


class Instruction(NamedTuple):
    """One slot: ``off`` is signed 16 bit, ``imm`` signed 32 bit."""

    opcode: int
    dst: int
    src: int
    off: int
    imm: int

    @property
    def opclass(self) -> int:
        return self.opcode & 0x07

    @property
    def is_wide(self) -> bool:
        """Takes two slots."""
        return self.opcode == LD_IMM64

    @property
    def is_helper_call(self) -> bool:
        """Calls the helper with number ``imm``."""
        return self.opcode == CALL and self.src == 0

    @property
    def is_subprog_call(self) -> bool:
        """bpf2bpf call; the callee starts ``imm`` slots after the next one."""
        return self.opcode == CALL and self.src == PSEUDO_CALL

    @property
    def is_kfunc_call(self) -> bool:
        return self.opcode == CALL and self.src == PSEUDO_KFUNC_CALL


def decode(data: bytes | memoryview, byteorder: str = "little") -> tuple[Instruction, ...]:
    """Decode whole slots; a length that is no multiple of 8 is the caller's to refuse. ``byteorder`` as in
    sys."""
    # Without the constructor's own call, which takes half of the time: objects have tens of thousands.
    new = tuple.__new__
    if byteorder == "little":
        return tuple(
            [
                new(Instruction, (op, regs & 0x0F, regs >> 4, off, imm))
                for op, regs, off, imm in struct.iter_unpack("<BBhi", data)
            ]
        )
    return tuple(
        [
            new(Instruction, (op, regs >> 4, regs & 0x0F, off, imm))
            for op, regs, off, imm in struct.iter_unpack(">BBhi", data)
        ]
    )


def encode(insns: tuple[Instruction, ...], byteorder: str = "little") -> bytes:
    """The bytes of a stream; the inverse of :func:`decode`."""
    if byteorder == "little":
        return b"".join(struct.pack("<BBhi", i.opcode, i.src << 4 | i.dst, i.off, i.imm) for i in insns)
    return b"".join(struct.pack(">BBhi", i.opcode, i.dst << 4 | i.src, i.off, i.imm) for i in insns)
