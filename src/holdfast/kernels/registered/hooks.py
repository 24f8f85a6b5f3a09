# SPDX-License-Identifier: Apache-2.0
"""Which program types look at which hook: ``bpf_prog_type_to_kfunc_hook()`` of an image, read from its code.

The function is static and inlined into register_btf_kfunc_id_set(), which is exported. So that one is
followed once for each program type. Where it calls __register_btf_kfunc_id_set() (6.2 on), the hook is the
first argument; where all is inlined (6.1), it is what is read from a table at a place that depends on the
type. The numbers have their names in ``enum btf_kfunc_hook``, which is in BTF.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.types import Enum, Kind
from holdfast.kernels.registered.space import Space
from holdfast.kernels.registered.walk import Trail, Walker
from holdfast.terms import ProgramType

__all__ = ["COMMON", "from_code", "from_enum", "known_types"]

COMMON: Final = "COMMON"
_KSET: Final = 0x5E75_0000_0000  # stands for the set's address; nothing is there
_INNER: Final = "__register_btf_kfunc_id_set"
_PREFIX: Final = "BTF_KFUNC_HOOK_"
# As long as there are kfunc calls, these types have hooks of their own; whoever finds otherwise misread.
_ANCHORS: Final = {
    ProgramType.XDP: "XDP",
    ProgramType.SCHED_CLS: "TC",
    ProgramType.STRUCT_OPS: "STRUCT_OPS",
    ProgramType.TRACING: "TRACING",
    ProgramType.SYSCALL: "SYSCALL",
}


def _enumerators(btf: Btf, name: str) -> dict[int, str]:
    found = btf.find(name, Kind.ENUM)
    decoded = btf.type(found) if found else None
    return {e.value: e.name for e in decoded.values} if isinstance(decoded, Enum) else {}


def known_types(btf: Btf) -> frozenset[ProgramType]:
    """The program types of ``enum bpf_prog_type``, without UNSPEC."""
    found = {name.removeprefix("BPF_PROG_TYPE_") for name in _enumerators(btf, "bpf_prog_type").values()}
    return frozenset(t for t in ProgramType if t.name in found and t is not ProgramType.UNSPEC)


def _names(btf: Btf) -> dict[int, str]:
    return {
        number: name.removeprefix(_PREFIX)
        for number, name in _enumerators(btf, "btf_kfunc_hook").items()
        if name != f"{_PREFIX}MAX"
    }


def from_code(space: Space, walker: Walker, register: int, btf: Btf) -> Mapping[ProgramType, str] | None:
    """Hooks by program type, UNSPEC's included where it has one; types that have none are left out.

    ``walker`` must report all calls, ``register`` is the address of register_btf_kfunc_id_set(). None where
    the code does not tell, or tells something impossible.
    """
    names = _names(btf)
    types = [ProgramType.UNSPEC, *sorted(known_types(btf))]
    trails = {t: walker.walk(register, {"rdi": t.value, "rsi": _KSET}) for t in types}
    inner = frozenset(at for at in space.names.find(_INNER))
    by_call = {t: _passed(trail, inner) for t, trail in trails.items()}
    if all(hook is not None for hook in by_call.values()):
        numbers = {t: hook for t, hook in by_call.items() if hook is not None}
    else:
        numbers = _looked_up(space, trails)
    found = {t: names[number] for t, number in numbers.items() if number in names}
    if any(found.get(t, hook) != hook for t, hook in _ANCHORS.items()) or ProgramType.XDP not in found:
        return None
    return found


def _passed(trail: Trail, inner: frozenset[int]) -> int | None:
    """The hook that is passed on; None when it is not told in one way."""
    passed = {
        call.rdi
        for call in trail.calls
        if call.rsi == _KSET and (call.target in inner or not inner) and call.rdi != _KSET
    }
    return passed.pop() if len(passed) == 1 and trail.complete else None


def _looked_up(space: Space, trails: Mapping[ProgramType, Trail]) -> dict[ProgramType, int]:
    """What was read at a place where no other type reads."""
    found = {}
    for program_type, trail in trails.items():
        others: set[tuple[int, int]] = set()
        for other, its in trails.items():
            if other is not program_type:
                others |= its.loads
        own = trail.loads - others
        if len(own) == 1:
            ((at, size),) = own
            number = space.word(at, size)
            if number is not None:
                found[program_type] = number
    return found


# bpf_prog_type_to_kfunc_hook() of the releases, told apart by the enumerators of enum btf_kfunc_hook. Only
# types whose hook is beyond doubt wherever that enumerator exists:
# - XDP, TC, STRUCT_OPS, SYSCALL: the hook's own type and no other, 5.18 to 7.1.
# - TRACING has TRACING; LSM came in 6.1 (d15bf1501c75), TRACEPOINT and PERF_EVENT between 6.8 and 6.12,
#   RAW_TRACEPOINT between 6.18 and 7.1, none with a trace in BTF.
# - SCHED_ACT, SK_SKB, SOCKET_FILTER, LWT (6.2), NETFILTER (6.4), KPROBE (6.12) came with their types.
# - CGROUP_SKB alone until 6.6; CGROUP has more since, of which only SKB and SOCK_ADDR are beyond doubt.
_CERTAIN: Final[Mapping[str, tuple[ProgramType, ...]]] = {
    "COMMON": (ProgramType.UNSPEC,),
    "XDP": (ProgramType.XDP,),
    "TC": (ProgramType.SCHED_CLS,),
    "STRUCT_OPS": (ProgramType.STRUCT_OPS,),
    "TRACING": (ProgramType.TRACING,),
    "SYSCALL": (ProgramType.SYSCALL,),
    "SCHED_ACT": (ProgramType.SCHED_ACT,),
    "SK_SKB": (ProgramType.SK_SKB,),
    "SOCKET_FILTER": (ProgramType.SOCKET_FILTER,),
    "LWT": (
        ProgramType.LWT_IN,
        ProgramType.LWT_OUT,
        ProgramType.LWT_XMIT,
        ProgramType.LWT_SEG6LOCAL,
    ),
    "NETFILTER": (ProgramType.NETFILTER,),
    "KPROBE": (ProgramType.KPROBE,),
}


def from_enum(btf: Btf) -> tuple[Mapping[ProgramType, str], frozenset[str]]:
    """Hooks by program type as far as ``enum btf_kfunc_hook`` alone tells, and those hooks of which it tells
    all types. Others, TRACING above all, got more types between releases without a trace.
    """
    names = set(_names(btf).values())
    found = {t: hook for hook, types in _CERTAIN.items() if hook in names for t in types}
    return found, frozenset(name for name in names if name in _CERTAIN) - {"TRACING"}
