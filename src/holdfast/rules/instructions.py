# SPDX-License-Identifier: Apache-2.0
"""Which kernels take which instructions, and the verifier's fixed limits.

What a feature is and which commit brought it stands with the feature (``insn.features``); here is how to ask
a kernel for it. Signs were checked against the five source trees and the BTF of a running 6.18.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.insn.features import FEATURES, InsnFeature
from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since
from holdfast.terms import ProgramType

__all__ = ["LIMITS", "Limits", "accepted", "ld_abs_accepted", "tail_calls_with_subprograms"]

_F: Final = InsnFeature

# In every kernel from 5.10 on.
_ALWAYS: Final = frozenset(
    {
        *(_F.JMP_LESS, _F.ALU32, _F.JMP32, _F.LOOP, _F.BPF2BPF, _F.MAP_VALUE_ADDRESS, _F.KSYM_ADDRESS),
        _F.LD_ABS,
    }
)
# Entries of the BTF that came with the verifier's own change.
_SIGNS: Final = {
    # Named so since the series that brought sign-extending loads, 6.6 (1f9a1ea821ff).
    _F.LDSX: Sign.func("coerce_reg_to_size_sx"),
    _F.MOVSX: Sign.func("coerce_reg_to_size_sx"),
    _F.MAY_GOTO: Sign.value("bpf_cond_pseudo_jmp", "BPF_MAY_GOTO"),
    _F.ADDR_SPACE_CAST: Sign.value("bpf_addr_space_cast", "BPF_ADDR_SPACE_CAST"),
    _F.INDIRECT_JUMP: Sign.value("bpf_reg_type", "PTR_TO_INSN"),
    _F.CALLBACK: Sign.value("bpf_reg_type", "PTR_TO_FUNC"),
    _F.KFUNC_CALL: Sign.func("bpf_jit_supports_kfunc_call"),
    _F.MODULE_KFUNC_CALL: Sign.struct("bpf_kfunc_btf_tab"),
}
# Presence says yes; absence says nothing, because the compiler may have inlined the function.
_ONE_WAY: Final = frozenset({_F.LDSX, _F.MOVSX})
# Where the change itself left no entry: the release's marker.
_RELEASES: Final = {
    _F.ATOMIC_BITWISE: (5, 12),
    _F.ATOMIC_FETCH: (5, 12),
    _F.ATOMIC_XCHG: (5, 12),
    _F.ATOMIC_CMPXCHG: (5, 12),
    _F.MAP_INDEX: (5, 14),
    _F.LDSX: (6, 6),
    _F.MOVSX: (6, 6),
    _F.BSWAP: (6, 6),
    _F.SDIV_SMOD: (6, 6),
    _F.GOTOL: (6, 6),
    _F.LOAD_ACQUIRE: (6, 15),
    _F.STORE_RELEASE: (6, 15),
}
# Without the JIT these are refused at load; the interpreter cannot run them.
_NEEDS_JIT: Final = frozenset({_F.KFUNC_CALL, _F.MODULE_KFUNC_CALL, _F.ADDR_SPACE_CAST, _F.INDIRECT_JUMP})
# Architectures whose JIT has it, and since when (bpf_jit_supports_*, arch/*/net, in the trees that were
# read).
_JITS: Final[dict[InsnFeature, dict[str, tuple[int, int]]]] = {
    _F.KFUNC_CALL: {"x86_64": (5, 13), "aarch64": (6, 1)},
    _F.MODULE_KFUNC_CALL: {"x86_64": (5, 16), "aarch64": (6, 1)},
    _F.ADDR_SPACE_CAST: {"x86_64": (6, 9), "aarch64": (6, 12)},
    _F.INDIRECT_JUMP: {"x86_64": (6, 19), "aarch64": (7, 1)},
}
# may_access_skb in kernel/bpf/verifier.c, the same in all five trees
_LD_ABS_TYPES: Final = frozenset({ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.SCHED_ACT})
_SOURCE: Final = "kernel/bpf/verifier.c"


@dataclass(frozen=True, slots=True)
class Limits:
    """Fixed bounds of the verifier; all the same in the trees 5.10 to 7.1."""

    instructions: int = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS: in the program, and processed; with CAP_BPF
    instructions_unprivileged: int = 4096  # BPF_MAXINSNS, without it
    subprograms: int = 256  # BPF_MAX_SUBPROGS, the main one counted
    stack_bytes: int = 512  # MAX_BPF_STACK, of all frames together unless the JIT gives private stacks (6.13)
    frames: int = 8  # MAX_CALL_FRAMES
    pending_states: int = 8192  # BPF_COMPLEXITY_LIMIT_JMP_SEQ
    maps: int = 64  # MAX_USED_MAPS
    kfuncs: int = 256  # MAX_KFUNC_DESCS; different ones
    modules: int = 256  # MAX_KFUNC_BTFS
    tail_calls: int = 33  # MAX_TAIL_CALL_CNT; 32 in the 5.10 tree, which counts one less
    tail_call_stack_bytes: int = 256  # of the frames before one that tail-calls (check_max_stack_depth)


LIMITS: Final = Limits()


def accepted(feature: InsnFeature, ask: Ask, *, arch: str | None = None, jit: bool | None = None) -> Ruling:
    """Whether the kernel's verifier takes the instruction.

    ``arch`` is as in ``uname -m``; ``jit`` tells that the JIT is on (net.core.bpf_jit_enable, or
    CONFIG_BPF_JIT_ALWAYS_ON). Which program types may use LD_ABS is told by :func:`ld_abs_accepted`.
    """
    if feature in _ALWAYS:
        return Ruling(Allowed.YES, "", _SOURCE)
    if feature is InsnFeature.UNKNOWN:
        return Ruling(Allowed.UNKNOWN, "the opcode is in no known kernel", _SOURCE)
    origin = FEATURES[feature]
    source = f"{_SOURCE}, {origin.release}" + (f" ({origin.commit})" if origin.commit else "")
    found, by_release = _known(feature, ask)
    what = f"{origin.summary} came in {origin.release}" if origin.release else origin.summary
    if found is False:
        return Ruling(Allowed.NO, f"this kernel does not know it: {what}", source, by_release=by_release)
    if feature in _NEEDS_JIT and jit is False:
        return Ruling(Allowed.NO, f"the JIT is off: {origin.summary} needs it", source)
    if found is None:
        return Ruling(Allowed.UNKNOWN, f"nothing tells whether this kernel knows it: {what}", source)
    jits = _JITS.get(feature)
    if jits and arch is not None:
        release = jits.get(arch)
        there = since(ask, release) if release else None
        if not there:
            return Ruling(
                Allowed.UNKNOWN, f"nothing tells whether the JIT of {arch} knows it: {what}", source
            )
    return Ruling(Allowed.YES, "", source, by_release=by_release)


def _known(feature: InsnFeature, ask: Ask) -> tuple[bool | None, bool]:
    """Whether the verifier knows it, and whether only the release number said so."""
    sign = _SIGNS.get(feature)
    if sign is not None:
        found = _entry(sign, ask)
        if found or (found is False and feature not in _ONE_WAY):
            return found, False
    release = _RELEASES.get(feature)
    if release is None:
        text = FEATURES[feature].release
        if text is None:
            return None, False
        major, _, minor = text.partition(".")
        release = (int(major), int(minor))
    found = since(ask, release)
    if found is not None:
        return found, False
    number = ask.release()
    return (None, False) if number is None else (number >= release, True)


def _entry(sign: Sign, ask: Ask) -> bool | None:
    """An enumerator of an enumeration that is not there at all is absent, as long as there is BTF."""
    found = ask.btf(sign)
    if found is None and ask.btf(Sign.value("bpf_map_type", "BPF_MAP_TYPE_HASH")):
        return False
    return found


def ld_abs_accepted(program_type: ProgramType) -> Ruling:
    """Whether programs of the type may use LD_ABS and LD_IND."""
    allowed = program_type in _LD_ABS_TYPES
    why = "" if allowed else f"LD_ABS and LD_IND are not for {program_type.name} programs"
    return Ruling(Allowed.YES if allowed else Allowed.NO, why, f"may_access_skb in {_SOURCE}")


# arch -> release from which its JIT lets programs with subprograms tail-call, with the commit (iovisor/bcc
# docs/kernel-versions.md names the same)
_TAIL_CALLS: Final = {
    "x86_64": ((5, 10), "e411901c0b77"),
    "aarch64": ((6, 0), "d4609a5d8c70"),
    "s390x": ((6, 3), "dd691e847d28"),
    "loongarch64": ((6, 4), "bb035ef0cc91"),
}


def tail_calls_with_subprograms(ask: Ask, *, arch: str, jit: bool | None = None) -> Ruling:
    """Whether one program may both call BPF functions and tail-call (bpf_jit_supports_subprog_tailcalls)."""
    known = _TAIL_CALLS.get(arch)
    source = "check_map_func_compatibility in kernel/bpf/verifier.c"
    why = "tail calls cannot be mixed with calls of BPF functions on this kernel"
    if jit is False:
        return Ruling(Allowed.NO, f"{why}: the JIT is off", source)
    if known is None:
        return Ruling(
            Allowed.UNKNOWN, f"nothing tells whether the JIT of {arch} can mix tail calls and calls", source
        )
    release, commit = known
    there = since(ask, release)
    source = f"{source}, {release[0]}.{release[1]} ({commit})"
    if there is None:
        return Ruling(Allowed.UNKNOWN, why, source)
    return Ruling(Allowed.YES if there else Allowed.NO, "" if there else why, source)
