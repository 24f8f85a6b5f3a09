# SPDX-License-Identifier: Apache-2.0
"""Instructions as text, in the syntax of the kernel's verifier log (``print_bpf_insn()`` of
kernel/bpf/disasm.c).

``(b7) r0 = 0``, ``(61) r1 = *(u32 *)(r1 +16)``, ``(85) call bpf_map_lookup_elem#1``: what people know from
the log, bpftool and bug reports, so that a line here can be searched for there. An opcode that the kernel has
no words for reads ``BUG_`` and its number, as it does there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.insn.flow import GOTOX
from holdfast.insn.instruction import (
    EXIT,
    GOTOL,
    JA,
    JCOND,
    LD_IMM64,
    PSEUDO_CALL,
    PSEUDO_KFUNC_CALL,
    Instruction,
    Opclass,
)

__all__ = ["Names", "listing", "text"]


@dataclass(frozen=True, slots=True)
class Names:
    """Names for the numbers in instructions; each function may answer None to have the kernel's default.

    - ``helper(number)``: a helper's name with its ``bpf_`` (default ``unknown``).
    - ``call(slot, insn)``: what to print after ``call`` for a bpf2bpf call (default ``pc+5``), or before
      ``#`` for a kfunc (default ``kernel-function``).
    - ``wide(slot, insn, value)``: the right side of an ``lddw`` (default the 64-bit value in hexadecimal),
      such as ``map[id:4]``.
    """

    helper: Callable[[int], str | None] | None = None
    call: Callable[[int, Instruction], str | None] | None = None
    wide: Callable[[int, Instruction, int], str | None] | None = None


_NO_NAMES = Names()

_ALU = {
    0x00: "+=",
    0x10: "-=",
    0x20: "*=",
    0x30: "/=",
    0x40: "|=",
    0x50: "&=",
    0x60: "<<=",
    0x70: ">>=",
    0x90: "%=",
    0xA0: "^=",
    0xB0: "=",
    0xC0: "s>>=",
}
_JUMP = {
    0x10: "==",
    0x20: ">",
    0x30: ">=",
    0x40: "&",
    0x50: "!=",
    0x60: "s>",
    0x70: "s>=",
    0xA0: "<",
    0xB0: "<=",
    0xC0: "s<",
    0xD0: "s<=",
}
_SIZE = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_SIGNED_SIZE = {0x00: "s32", 0x08: "s16", 0x10: "s8"}
_MOVSX = {8: "(s8)", 16: "(s16)", 32: "(s32)"}
_ATOMIC = {0x00: "add", 0x40: "or", 0x50: "and", 0xA0: "xor"}


def text(insns: Sequence[Instruction], slot: int, names: Names = _NO_NAMES) -> str:
    """The instruction at ``slot`` as one line without its number; IndexError outside the stream."""
    insn = insns[slot]
    opclass = insn.opclass
    body: str | None
    if opclass in (Opclass.ALU, Opclass.ALU64):
        body = _alu(insn)
    elif opclass == Opclass.LDX:
        body = _load(insn)
    elif opclass == Opclass.STX:
        body = _store(insn)
    elif opclass == Opclass.ST:
        body = _store_immediate(insn)
    elif opclass == Opclass.LD:
        body = _special_load(insns, slot, names)
    else:
        body = _call(insn, slot, names) if insn.opcode & 0xF0 == 0x80 else _jump(insn)
    return f"BUG_{insn.opcode:02x}" if body is None else f"({insn.opcode:02x}) {body}"


def listing(insns: Sequence[Instruction], names: Names = _NO_NAMES) -> Iterator[tuple[int, str]]:
    """(slot, text) of every instruction; a wide instruction comes once, with its first slot."""
    skip = False
    for slot, insn in enumerate(insns):
        if skip:
            skip = False
            continue
        skip = insn.is_wide
        yield slot, text(insns, slot, names)


def _alu(insn: Instruction) -> str | None:
    op, dst, src, off, imm = insn
    is64 = op & 0x07 == Opclass.ALU64
    width = "r" if is64 else "w"
    operation = op & 0xF0
    by_register = op & 0x08
    if operation == 0xD0:  # END: always the whole register's name
        order = "bswap" if is64 else ("be" if by_register else "le")
        return f"r{dst} = {order}{imm} r{dst}"
    if operation == 0x80:
        return f"{width}{dst} = -{width}{dst}"
    if op == 0xBF and off == 1:
        return f"r{dst} = addr_space_cast(r{src}, {(imm >> 16) & 0xFFFF}, {imm & 0xFFFF})"
    if op == 0xBF and off == -1:  # only inside the kernel, after the verifier: BPF_ADDR_PERCPU
        return f"r{dst} = &(void __percpu *)(r{src})"
    sign = _ALU.get(operation)
    if sign is None:
        return None
    if off == 1 and operation in (0x30, 0x90):
        sign = f"s{sign}"
    if not by_register:
        return f"{width}{dst} {sign} {imm}"
    cast = _MOVSX.get(off, "") if operation == 0xB0 else ""
    return f"{width}{dst} {sign} {cast}{width}{src}"


def _load(insn: Instruction) -> str | None:
    op, dst, src, off, _ = insn
    size = {0x60: _SIZE, 0x80: _SIGNED_SIZE}.get(op & 0xE0, {}).get(op & 0x18)
    return None if size is None else f"r{dst} = *({size} *)(r{src} {off:+d})"


def _store(insn: Instruction) -> str | None:
    op, dst, src, off, imm = insn
    size = _SIZE[op & 0x18]
    if op & 0xE0 == 0x60:
        return f"*({size} *)(r{dst} {off:+d}) = r{src}"
    if op & 0xE0 != 0xC0:
        return None
    place = f"({size} *)(r{dst} {off:+d})"
    wide = "64" if size == "u64" else ""
    if imm in _ATOMIC:
        return f"lock *{place} {_ALU[imm]} r{src}"
    if imm & ~1 in _ATOMIC:
        return f"r{src} = atomic{wide}_fetch_{_ATOMIC[imm & ~1]}({place}, r{src})"
    if imm == 0xF1:
        return f"r0 = atomic{wide}_cmpxchg({place}, r0, r{src})"
    if imm == 0xE1:
        return f"r{src} = atomic{wide}_xchg({place}, r{src})"
    if imm == 0x100:
        return f"r{dst} = load_acquire(({size} *)(r{src} {off:+d}))"
    if imm == 0x110:
        return f"store_release({place}, r{src})"
    return None


def _store_immediate(insn: Instruction) -> str | None:
    op, dst, _, off, imm = insn
    if op & 0xE0 == 0x60:
        return f"*({_SIZE[op & 0x18]} *)(r{dst} {off:+d}) = {imm}"
    return "nospec" if op & 0xE0 == 0xC0 else None  # BPF_NOSPEC: only inside the kernel


def _special_load(insns: Sequence[Instruction], slot: int, names: Names) -> str | None:
    op, dst, src, _, imm = insns[slot]
    if op & 0xE0 == 0x20:
        return f"r0 = *({_SIZE[op & 0x18]} *)skb[{imm}]"
    if op & 0xE0 == 0x40:
        return f"r0 = *({_SIZE[op & 0x18]} *)skb[r{src} + {imm}]"
    if op != LD_IMM64:
        return None
    upper = insns[slot + 1].imm if slot + 1 < len(insns) else 0
    value = (upper & 0xFFFF_FFFF) << 32 | imm & 0xFFFF_FFFF
    named = names.wide(slot, insns[slot], value) if names.wide else None
    return f"r{dst} = {hex(value) if named is None else named}"


def _call(insn: Instruction, slot: int, names: Names) -> str:
    imm = insn.imm
    if insn.src == 0:
        name = (names.helper(imm) if names.helper else None) or "unknown"
        return f"call {name}#{imm}"
    named = names.call(slot, insn) if names.call else None
    if insn.src == PSEUDO_CALL:
        return f"call pc{imm:+d}" if named is None else f"call {named}"
    if insn.src == PSEUDO_KFUNC_CALL:
        return f"call {named or 'kernel-function'}#{imm}"
    return f"call {named or 'unknown'}#{imm}"


def _jump(insn: Instruction) -> str | None:
    op, dst, src, off, imm = insn
    if op == JA:
        return f"goto pc{off:+d}"
    if op == GOTOL:
        return f"gotol pc{imm:+d}"
    if op == GOTOX:  # commit "bpf: disasm: add support for BPF_JMP|BPF_JA|BPF_X" (in v6.19)
        return f"gotox r{dst}"
    if op == JCOND and src == 0:
        return f"may_goto pc{off:+d}"
    if op == EXIT:
        return "exit"
    sign = _JUMP.get(op & 0xF0)
    if sign is None:
        return None
    width = "w" if op & 0x07 == Opclass.JMP32 else "r"
    operand = f"{width}{src}" if op & 0x08 else f"0x{imm & 0xFFFF_FFFF:x}"
    return f"if {width}{dst} {sign} {operand} goto pc{off:+d}"
