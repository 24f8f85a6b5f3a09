# SPDX-License-Identifier: Apache-2.0
"""Trial programs as instructions."""

from __future__ import annotations

import struct
from typing import Final

from holdfast.insn.features import InsnFeature

__all__ = ["INSN_TRIALS", "RETURN_0", "helper_call", "insn", "kfunc_call", "strange_call"]

_PSEUDO_KFUNC_CALL: Final = 2
_NO_SUCH_PSEUDO: Final = 7


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction, 8 bytes."""
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


RETURN_0: Final = insn(0xB7) + insn(0x95)
_ZERO_STACK: Final = insn(0x7A, 10, off=-8)  # *(u64 *)(r10 - 8) = 0
_ONE: Final = insn(0xB7, 1, imm=1)  # r1 = 1


def helper_call(number: int) -> bytes:
    """A program that calls a helper with whatever is in its registers, and returns 0."""
    return insn(0x85, imm=number) + RETURN_0


def kfunc_call(type_id: int, off: int = 0) -> bytes:
    """A program that calls a kfunc by BTF id with whatever is in its registers, and returns 0.

    ``off`` is a place in fd_array; 0 stands for vmlinux.
    """
    return insn(0x85, src=_PSEUDO_KFUNC_CALL, off=off, imm=type_id) + RETURN_0


def strange_call(type_id: int) -> bytes:
    """A call of a kind that no kernel has, else the same as :func:`kfunc_call`."""
    return insn(0x85, src=_NO_SUCH_PSEUDO, imm=type_id) + RETURN_0


def _atomic(operation: int) -> bytes:
    return insn(0xB7, 0) + _ONE + _ZERO_STACK + insn(0xDB, 10, 1, -8, operation) + RETURN_0


INSN_TRIALS: Final[dict[str, bytes]] = {
    InsnFeature.JMP_LESS: _ONE + insn(0xA5, 1, off=0, imm=2) + RETURN_0,
    InsnFeature.ALU32: insn(0xB4, 1, imm=1) + RETURN_0,
    InsnFeature.JMP32: _ONE + insn(0x16, 1, off=0, imm=2) + RETURN_0,
    InsnFeature.ATOMIC_BITWISE: _atomic(0x40),
    InsnFeature.ATOMIC_FETCH: _atomic(0x01),
    InsnFeature.ATOMIC_XCHG: _atomic(0xE1),
    InsnFeature.ATOMIC_CMPXCHG: _atomic(0xF1),
    InsnFeature.LDSX: _ZERO_STACK + insn(0x91, 0, 10, -8) + RETURN_0,
    InsnFeature.MOVSX: _ONE + insn(0xBF, 0, 1, 8) + RETURN_0,
    InsnFeature.BSWAP: _ONE + insn(0xD7, 1, imm=32) + RETURN_0,
    InsnFeature.SDIV_SMOD: _ONE + insn(0x37, 1, off=1, imm=3) + RETURN_0,
    InsnFeature.GOTOL: insn(0x06, imm=0) + RETURN_0,
    # Without an offset 6.12 refuses it and 6.18 does not.
    InsnFeature.MAY_GOTO: insn(0xB7) + insn(0xE5, off=1) + insn(0x07) + RETURN_0,
    InsnFeature.LOAD_ACQUIRE: _ZERO_STACK + insn(0xDB, 0, 10, -8, 0x100) + RETURN_0,
    InsnFeature.STORE_RELEASE: _ZERO_STACK + _ONE + insn(0xDB, 10, 1, -8, 0x110) + RETURN_0,
    InsnFeature.LOOP: insn(0xB7) + insn(0x07, imm=1) + insn(0xA5, off=-2, imm=4) + RETURN_0,
    InsnFeature.BPF2BPF: insn(0x85, src=1, imm=1) + insn(0x95) + RETURN_0,
}
"""One valid program per feature; a kernel that has the feature loads it as a SOCKET_FILTER."""
