# SPDX-License-Identifier: Apache-2.0
"""Put a relocation's value into its instruction: ``bpf_core_patch_insn()`` of libbpf's relo_core.c.

Patched are an immediate operand of ALU and ALU64, the 64-bit immediate of LDIMM64, and the offset (and, where
it is safe, the width) of LDX, ST and STX. Everything else is an error.
"""

from __future__ import annotations

import errno
from typing import Final

from holdfast.insn.instruction import BPF_X, CALL, LD_IMM64, Instruction, Opclass
from holdfast.relo.failure import Refused
from holdfast.relo.value import UINT64_MAX

__all__ = ["BAD_RELO", "POISON", "patch"]

BAD_RELO: Final = 195896080
"""0xbad2310: the helper number that libbpf writes where a relocation found nothing; reached, the verifier
says so.
"""

POISON: Final = Instruction(CALL, 0, 0, 0, BAD_RELO)

_SHRT_MAX: Final = 0x7FFF
_BYTES_OF_SIZE: Final = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}  # BPF_W, BPF_H, BPF_B, BPF_DW
_SIZE_OF_BYTES: Final = {bytes_: code for code, bytes_ in _BYTES_OF_SIZE.items()}


def _signed32(number: int) -> int:
    return (number & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def patch(
    insn: Instruction,
    following: Instruction | None,
    number: int,
    expected: int | None,
    orig_size: int,
    new_size: int,
) -> tuple[Instruction, ...]:
    """The instruction with ``number`` (unsigned 64 bit) in it: one slot, or two for LDIMM64.

    ``expected`` is what must stand there now, None for no check. ``orig_size`` and ``new_size`` are bytes of
    memory that a load or store is to have. ``following`` is LDIMM64's second slot; without it only its lower
    half is checked. Raises :exc:`Refused` (EINVAL, ERANGE) in libbpf's words, without its "insn #N".
    """
    opclass = insn.opcode & 0x07
    if opclass in (Opclass.ALU, Opclass.ALU64):
        if insn.opcode & BPF_X:
            raise Refused(errno.EINVAL, "insn (ALU/ALU64) has no immediate operand")
        if expected is not None and insn.imm & UINT64_MAX != expected:
            raise _unexpected("ALU/ALU64", insn.imm, expected, number)
        return (insn._replace(imm=_signed32(number)),)
    if opclass in (Opclass.LDX, Opclass.ST, Opclass.STX):
        if expected is not None and insn.off & UINT64_MAX != expected:
            raise _unexpected("LDX/ST/STX", insn.off, expected, number)
        if number > _SHRT_MAX:
            raise Refused(errno.ERANGE, f"insn (LDX/ST/STX) value too big: {number}")
        opcode = insn.opcode
        if new_size != orig_size:
            opcode = _resized(opcode, orig_size, new_size)
        return (insn._replace(opcode=opcode, off=number),)
    if opclass == Opclass.LD:
        return _patch_ldimm64(insn, following, number, expected)
    raise Refused(
        errno.EINVAL,
        f"trying to relocate unrecognized insn, code:{insn.opcode:#x}, src:{insn.src:#x}, dst:{insn.dst:#x}, "
        f"off:{insn.off:#x}, imm:{insn.imm:#x}",
    )


def _unexpected(word: str, got: int, expected: int, number: int) -> Refused:
    return Refused(errno.EINVAL, f"unexpected insn ({word}) value: got {got}, exp {expected} -> {number}")


def _resized(opcode: int, orig_size: int, new_size: int) -> int:
    has = _BYTES_OF_SIZE[opcode & 0x18]
    if has != orig_size:
        raise Refused(errno.EINVAL, f"insn (LDX/ST/STX) unexpected mem size: got {has}, exp {orig_size}")
    if new_size not in _SIZE_OF_BYTES:
        raise Refused(errno.EINVAL, f"insn (LDX/ST/STX) invalid new mem size: {new_size}")
    return opcode & 0xE7 | _SIZE_OF_BYTES[new_size]


def _patch_ldimm64(
    insn: Instruction, following: Instruction | None, number: int, expected: int | None
) -> tuple[Instruction, ...]:
    second = following or Instruction(0, 0, 0, 0, 0)
    if insn.opcode != LD_IMM64 or insn.src or insn.off or second[:4] != (0, 0, 0, 0):
        raise Refused(errno.EINVAL, "insn (LDIMM64) has unexpected form")
    mask = UINT64_MAX if following else 0xFFFFFFFF
    has = (insn.imm & 0xFFFFFFFF | (second.imm & 0xFFFFFFFF) << 32) & mask
    if expected is not None and has != expected & mask:
        raise _unexpected("LDIMM64", has, expected, number)
    return insn._replace(imm=_signed32(number)), second._replace(imm=_signed32(number >> 32))
