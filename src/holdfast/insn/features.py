# SPDX-License-Identifier: Apache-2.0
"""What an instruction stream asks of a kernel's instruction set, and of the compiler's ``-mcpu``.

The level is clang's: the lowest ``-mcpu`` that emits such instructions. It is a way of speaking only. What a
kernel must know is the feature itself; each says which release and commit brought it to the verifier.
Distribution kernels carry some earlier, so ask a probe before the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.insn.flow import GOTOX, back_edges
from holdfast.insn.instruction import CALL, GOTOL, JCOND, LD_IMM64, PSEUDO_BTF_ID, PSEUDO_FUNC, Instruction

__all__ = ["FEATURES", "FeatureOrigin", "InsnFeature", "features", "first_slots", "isa_level"]


class InsnFeature(StrEnum):
    """Properties of instructions that not every kernel accepts; what each is stands in :data:`FEATURES`."""

    JMP_LESS = "jmp_less"
    ALU32 = "alu32"
    JMP32 = "jmp32"
    ATOMIC_BITWISE = "atomic_bitwise"
    ATOMIC_FETCH = "atomic_fetch"
    ATOMIC_XCHG = "atomic_xchg"
    ATOMIC_CMPXCHG = "atomic_cmpxchg"
    LDSX = "ldsx"
    MOVSX = "movsx"
    BSWAP = "bswap"
    SDIV_SMOD = "sdiv_smod"
    GOTOL = "gotol"
    MAY_GOTO = "may_goto"
    ADDR_SPACE_CAST = "addr_space_cast"
    LOAD_ACQUIRE = "load_acquire"
    STORE_RELEASE = "store_release"
    INDIRECT_JUMP = "indirect_jump"
    LOOP = "loop"
    BPF2BPF = "bpf2bpf"
    CALLBACK = "callback"
    KFUNC_CALL = "kfunc_call"
    MODULE_KFUNC_CALL = "module_kfunc_call"
    MAP_VALUE_ADDRESS = "map_value_address"
    MAP_INDEX = "map_index"
    KSYM_ADDRESS = "ksym_address"
    LD_ABS = "ld_abs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FeatureOrigin:
    """Where a feature comes from.

    ``isa`` is the lowest clang ``-mcpu`` level (1 to 4) that emits it. ``release`` is the first Linux release
    whose verifier takes it and ``commit`` (12 digits) the change; None where neither applies or it was always
    there.
    """

    summary: str
    isa: int = 1
    release: str | None = None
    commit: str | None = None


# Commits were looked up by their quoted subjects; releases without a commit were seen by comparing source
# trees.
FEATURES: Final[dict[InsnFeature, FeatureOrigin]] = {
    # "bpf: add BPF_J{LT,LE,SLT,SLE} instructions"
    InsnFeature.JMP_LESS: FeatureOrigin("jump if less: JLT, JLE, JSLT, JSLE", 2, "4.14", "92b31a9af73b"),
    # Always in the kernel's eBPF; clang uses it from v3 on.
    InsnFeature.ALU32: FeatureOrigin("32-bit arithmetic (w registers)", 3),
    # "bpf: verifier support JMP32"
    InsnFeature.JMP32: FeatureOrigin("32-bit conditional jumps", 3, "5.1", "092ed0968bb6"),
    # "bpf: Add bitwise atomic instructions"; clang's level: Documentation/bpf/clang-notes.rst, "Atomic
    # operations"
    InsnFeature.ATOMIC_BITWISE: FeatureOrigin("atomic and, or, xor", 3, "5.12", "981f94c3e921"),
    # "bpf: Add BPF_FETCH field / create atomic_fetch_add instruction"
    InsnFeature.ATOMIC_FETCH: FeatureOrigin(
        "atomic operations that return the old value", 3, "5.12", "5ca419f2864a"
    ),
    # "bpf: Add instructions for atomic_[cmp]xchg"
    InsnFeature.ATOMIC_XCHG: FeatureOrigin("atomic exchange", 3, "5.12", "5ffa25502b5a"),
    InsnFeature.ATOMIC_CMPXCHG: FeatureOrigin("atomic compare and exchange", 3, "5.12", "5ffa25502b5a"),
    # "bpf: Support new sign-extension load insns"
    InsnFeature.LDSX: FeatureOrigin("sign-extending loads", 4, "6.6", "1f9a1ea821ff"),
    # "bpf: Support new sign-extension mov insns"
    InsnFeature.MOVSX: FeatureOrigin("sign-extending moves", 4, "6.6", "8100928c8814"),
    # "bpf: Support new unconditional bswap instruction"
    InsnFeature.BSWAP: FeatureOrigin("unconditional byte swap", 4, "6.6", "0845c3db7bf5"),
    # "bpf: Support new signed div/mod instructions."
    InsnFeature.SDIV_SMOD: FeatureOrigin("signed division and modulo", 4, "6.6", "ec0e2da95f72"),
    # "bpf: Support new 32bit offset jmp instruction"
    InsnFeature.GOTOL: FeatureOrigin("jump with a 32-bit offset", 4, "6.6", "4cd58e9af8b9"),
    # "bpf: Introduce may_goto instruction"
    InsnFeature.MAY_GOTO: FeatureOrigin("may_goto, a loop that the kernel bounds", 1, "6.9", "011832b97b31"),
    # "bpf: Recognize addr_space_cast instruction in the verifier."
    InsnFeature.ADDR_SPACE_CAST: FeatureOrigin("cast between arena address spaces", 1, "6.9", "6082b6c328b5"),
    # "bpf: Introduce load-acquire and store-release instructions"
    InsnFeature.LOAD_ACQUIRE: FeatureOrigin("atomic load with acquire order", 4, "6.15", "880442305a39"),
    InsnFeature.STORE_RELEASE: FeatureOrigin("atomic store with release order", 4, "6.15", "880442305a39"),
    # "bpf, x86: add support for indirect jumps"
    InsnFeature.INDIRECT_JUMP: FeatureOrigin("gotox, a jump through a table", 4, "6.19", "493d9e0d6083"),
    # "bpf: introduce bounded loops"
    InsnFeature.LOOP: FeatureOrigin("a loop that is not unrolled", 1, "5.3", "2589726d12a1"),
    # "bpf: introduce function calls (verification)" of 4.16
    InsnFeature.BPF2BPF: FeatureOrigin("call of another BPF function", 1, "4.16", "cc8b0b92a169"),
    # "bpf: Add bpf_for_each_map_elem() helper"
    InsnFeature.CALLBACK: FeatureOrigin("a BPF function handed over as callback", 1, "5.13", "69c087ba6225"),
    # "bpf: Support bpf program calling kernel function"
    InsnFeature.KFUNC_CALL: FeatureOrigin("call of a kernel function", 1, "5.13", "e6ac2450d6de"),
    InsnFeature.MODULE_KFUNC_CALL: FeatureOrigin("call of a kernel function in a module", 1),
    # "bpf: implement lookup-free direct value access for maps"
    InsnFeature.MAP_VALUE_ADDRESS: FeatureOrigin(
        "address of global data (map value)", 1, "5.2", "d8eca5bbb2be"
    ),
    # "bpf: Introduce fd_idx"
    InsnFeature.MAP_INDEX: FeatureOrigin("map named by its index in fd_array", 1, "5.14", "387544bfa291"),
    # "bpf: Introduce pseudo_btf_id"
    InsnFeature.KSYM_ADDRESS: FeatureOrigin(
        "address of a kernel symbol by its BTF id", 1, "5.10", "4976b718c355"
    ),
    # Classic BPF's packet loads; only socket and traffic control programs may use them (may_access_skb()).
    InsnFeature.LD_ABS: FeatureOrigin("packet load by offset (LD_ABS, LD_IND)"),
    InsnFeature.UNKNOWN: FeatureOrigin("an opcode that no known kernel has"),
}


def features(insns: Sequence[Instruction], slots: Iterable[int] | None = None) -> frozenset[InsnFeature]:
    """The features that a stream uses, or those of some of its slots only (the live ones)."""
    return frozenset(first_slots(insns, slots))


def isa_level(found: Iterable[InsnFeature]) -> int:
    """The clang ``-mcpu`` level, 1 to 4, that these features need."""
    return max((FEATURES[feature].isa for feature in found), default=1)


def first_slots(insns: Sequence[Instruction], slots: Iterable[int] | None = None) -> dict[InsnFeature, int]:
    """Feature -> the lowest slot that uses it. ``slots`` limits the search to some slots.

    Call offsets and kfunc ids may still be unresolved, as in an ELF section; ``LOOP`` wants the jumps only,
    which the compiler resolves itself.
    """
    first: dict[InsnFeature, int] = {}
    chosen = range(len(insns)) if slots is None else sorted(slot for slot in slots if 0 <= slot < len(insns))
    for slot in chosen:
        insn = insns[slot]
        kinds = _PLAIN.get(insn.opcode)
        if kinds is None:
            if insn.opcode == 0 and slot and insns[slot - 1].opcode == LD_IMM64:
                continue  # upper half
            kinds = _looked_at(insn)
        for feature in kinds:
            first.setdefault(feature, slot)
    wanted = None if slots is None else set(chosen)
    edges = [start for start, _ in _loops(insns) if wanted is None or start in wanted]
    if edges:
        first[InsnFeature.LOOP] = min(edges)
    return first


def _loops(insns: Sequence[Instruction]) -> tuple[tuple[int, int], ...]:
    """Loops of the stream; without a jump backwards (a 16-bit or, for gotol, 32-bit offset) there is none."""
    for op, _, _, off, imm in insns:
        if (off < 0 and op in _NEAR_JUMPS) or op == GOTOX or (op == GOTOL and imm < 0):
            return back_edges(insns)
    return ()


_NEAR_JUMPS: Final = frozenset(
    op for op in range(0x100) if op & 0x07 in (0x05, 0x06) and op & 0xF0 != 0x80
)  # those with their distance in off; 0x80 is CALL


# By opcode alone; those not listed need a look at their other fields.
_PLAIN: Final[dict[int, tuple[InsnFeature, ...]]] = {}
for _op in range(0x00, 0xE0, 0x10):
    for _source in (0x00, 0x08):
        if _op in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70):
            _PLAIN[0x05 | _op | _source] = ()
        if _op in (0xA0, 0xB0, 0xC0, 0xD0):
            _PLAIN[0x05 | _op | _source] = (InsnFeature.JMP_LESS,)
        if _op not in (0x00, 0x80, 0x90):
            _less = (InsnFeature.JMP_LESS,) if _op >= 0xA0 else ()
            _PLAIN[0x06 | _op | _source] = (InsnFeature.JMP32, *_less)
        if _op in (0x00, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xC0):
            _PLAIN[0x07 | _op | _source] = ()
            _PLAIN[0x04 | _op | _source] = (InsnFeature.ALU32,)
for _size in (0x00, 0x08, 0x10, 0x18):
    _PLAIN[0x60 | _size | 0x01] = _PLAIN[0x60 | _size | 0x02] = _PLAIN[0x60 | _size | 0x03] = ()
    if _size != 0x18:
        _PLAIN[0x80 | _size | 0x01] = (InsnFeature.LDSX,)
        _PLAIN[0x20 | _size] = _PLAIN[0x40 | _size] = (InsnFeature.LD_ABS,)
_PLAIN.update(
    {
        0x05: (),
        0x95: (),
        0x84: (InsnFeature.ALU32,),  # NEG
        0x87: (),
        0xD4: (),  # END to little and to big endian, in every ISA level
        0xDC: (),
        0xD7: (InsnFeature.BSWAP,),
        0xB7: (),  # MOV of an immediate
        0xB4: (InsnFeature.ALU32,),
        GOTOL: (InsnFeature.GOTOL,),
        GOTOX: (InsnFeature.INDIRECT_JUMP,),
    }
)
_UNKNOWN: Final = (InsnFeature.UNKNOWN,)


def _looked_at(insn: Instruction) -> tuple[InsnFeature, ...]:
    """Features of an opcode whose meaning depends on ``src``, ``off`` or ``imm``."""
    op = insn.opcode
    if op in (0xBF, 0xBC):  # MOV of a register
        if op == 0xBF:
            return (InsnFeature.MOVSX,) if insn.off in (8, 16, 32) else _CASTS.get(insn.off, _UNKNOWN)
        return {0: (InsnFeature.ALU32,), 8: _MOVSX32, 16: _MOVSX32}.get(insn.off, _UNKNOWN)
    if op & 0xF0 in (0x30, 0x90) and op & 0x07 in (0x04, 0x07):  # DIV, MOD
        width = (InsnFeature.ALU32,) if op & 0x07 == 0x04 else ()
        if insn.off == 1:
            return (*width, InsnFeature.SDIV_SMOD)
        return width if insn.off == 0 else _UNKNOWN
    if op in (0xC3, 0xCB, 0xD3, 0xDB):
        return _atomic(insn)
    if op == CALL:
        return _call(insn)
    if op == LD_IMM64:
        return _WIDE.get(insn.src, _UNKNOWN)
    if op == JCOND:
        return (InsnFeature.MAY_GOTO,) if insn.src == 0 else _UNKNOWN
    return _UNKNOWN  # CALLX among them: clang emits it at -O0, and no kernel takes it


_MOVSX32: Final = (InsnFeature.ALU32, InsnFeature.MOVSX)
_CASTS: Final[dict[int, tuple[InsnFeature, ...]]] = {0: (), 1: (InsnFeature.ADDR_SPACE_CAST,)}
_WIDE: Final[dict[int, tuple[InsnFeature, ...]]] = {
    0: (),
    1: (),  # PSEUDO_MAP_FD
    2: (InsnFeature.MAP_VALUE_ADDRESS,),
    PSEUDO_BTF_ID: (InsnFeature.KSYM_ADDRESS,),
    PSEUDO_FUNC: (InsnFeature.CALLBACK,),
    5: (InsnFeature.MAP_INDEX,),
    6: (InsnFeature.MAP_INDEX, InsnFeature.MAP_VALUE_ADDRESS),
}
_FETCHES: Final[dict[int, tuple[InsnFeature, ...]]] = {
    0x00: (),  # add, BPF_XADD of old
    0x40: (InsnFeature.ATOMIC_BITWISE,),
    0x50: (InsnFeature.ATOMIC_BITWISE,),
    0xA0: (InsnFeature.ATOMIC_BITWISE,),
    0x01: (InsnFeature.ATOMIC_FETCH,),
    0x41: (InsnFeature.ATOMIC_BITWISE, InsnFeature.ATOMIC_FETCH),
    0x51: (InsnFeature.ATOMIC_BITWISE, InsnFeature.ATOMIC_FETCH),
    0xA1: (InsnFeature.ATOMIC_BITWISE, InsnFeature.ATOMIC_FETCH),
    0xE1: (InsnFeature.ATOMIC_XCHG,),
    0xF1: (InsnFeature.ATOMIC_CMPXCHG,),
}


def _atomic(insn: Instruction) -> tuple[InsnFeature, ...]:
    if insn.imm == 0x100:
        return (InsnFeature.LOAD_ACQUIRE,)
    if insn.imm == 0x110:
        return (InsnFeature.STORE_RELEASE,)
    if insn.opcode in (0xCB, 0xD3):
        return _UNKNOWN  # 16 and 8 bits wide exist for load-acquire and store-release only
    return _FETCHES.get(insn.imm, _UNKNOWN)


def _call(insn: Instruction) -> tuple[InsnFeature, ...]:
    if insn.src == 0:
        return ()
    if insn.is_subprog_call:
        return (InsnFeature.BPF2BPF,)
    if insn.is_kfunc_call:  # off is an index into fd_array where the function is a module's
        return (
            (InsnFeature.KFUNC_CALL, InsnFeature.MODULE_KFUNC_CALL) if insn.off else (InsnFeature.KFUNC_CALL,)
        )
    return _UNKNOWN
