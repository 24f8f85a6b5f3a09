# SPDX-License-Identifier: Apache-2.0
"""What it means for programs when a kfunc gains or loses a KF_* flag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.history.change import Aspect, Change, Effect

__all__ = ["FLAGS", "FlagEra", "FlagRule", "compare", "flags_text"]

_T, _W, _N = Effect.TIGHTENS, Effect.WIDENS, Effect.NEUTRAL


@dataclass(frozen=True, slots=True)
class FlagRule:
    """Effects of a flag that is added or removed, and what the flag asks for.

    Source: Documentation/bpf/kfuncs.rst of 7.1 and check_kfunc_call() of kernel/bpf/verifier.c.
    """

    added: Effect
    removed: Effect
    asks: str


FLAGS: Final[Mapping[str, FlagRule]] = {
    # what a program must do with the result or the arguments: both ways a program that is right becomes wrong
    "ACQUIRE": FlagRule(_T, _T, "the program must release what it returns"),
    "RELEASE": FlagRule(_T, _T, "it takes over the reference in its first argument"),
    "ITER_NEW": FlagRule(_T, _T, "it begins an open-coded iterator"),
    "ITER_NEXT": FlagRule(_T, _T, "it advances an open-coded iterator"),
    "ITER_DESTROY": FlagRule(_T, _T, "it ends an open-coded iterator"),
    "KPTR_GET": FlagRule(_T, _T, "its first argument is a pointer to a kptr (6.1 to 6.3)"),
    "RET_NULL": FlagRule(_T, _W, "the program must test its result for NULL"),
    # where, and by whom, it may be called
    "SLEEPABLE": FlagRule(_T, _W, "only code that may sleep can call it"),
    "DESTRUCTIVE": FlagRule(_T, _W, "who loads the program needs CAP_SYS_BOOT"),
    "PERFMON": FlagRule(_T, _W, "who loads the program needs CAP_PERFMON"),
    "RCU_PROTECTED": FlagRule(_T, _W, "it must be called, and its result used, in an RCU section"),
    "SPINLOCK_SAFE": FlagRule(_W, _T, "it may be called with a bpf_spin_lock held"),
    # which pointers it takes: _pointers() puts these two together
    "TRUSTED_ARGS": FlagRule(_T, _W, "pointers must be trusted"),
    "RCU": FlagRule(_T, _W, "pointers must be trusted or RCU-protected"),
    # how it is called, which libbpf, the verifier and the JIT arrange among themselves
    "FASTCALL": FlagRule(_N, _N, "calls keep registers, where the JIT inlines them"),
    "IMPLICIT_ARGS": FlagRule(_N, _N, "the verifier passes hidden arguments"),
    "ARENA_RET": FlagRule(_N, _N, "it returns an arena pointer"),
    "ARENA_ARG1": FlagRule(_N, _N, "its first argument is an arena pointer"),
    "ARENA_ARG2": FlagRule(_N, _N, "its second argument is an arena pointer"),
    "DEPRECATED": FlagRule(_N, _N, "its removal was announced"),
}

_POINTERS: Final = frozenset({"TRUSTED_ARGS", "RCU"})
_RANK: Final = {"": 0, "RCU": 1, "TRUSTED_ARGS": 2}
_DEMANDS: Final = {
    "": "any pointer of the type will do",
    "RCU": "pointers must be trusted or RCU-protected",
    "TRUSTED_ARGS": "pointers must be trusted",
}


@dataclass(frozen=True, slots=True)
class FlagEra:
    """What a whole kernel says about flags: ``known`` are those that any of its kfuncs has.

    ``trusted_by_default``: 7.0 made trusted arguments the rule and took KF_TRUSTED_ARGS away. Its trace: some
    kfunc has KF_RCU (6.2), and none has KF_TRUSTED_ARGS.
    """

    known: frozenset[str]

    @property
    def trusted_by_default(self) -> bool:
        return "RCU" in self.known and "TRUSTED_ARGS" not in self.known


def flags_text(flags: frozenset[str] | None) -> str:
    """``ACQUIRE RET_NULL``; ``none``; ``unknown``."""
    if flags is None:
        return "unknown"
    return " ".join(sorted(flags)) or "none"


def compare(
    before: frozenset[str],
    after: frozenset[str],
    era_before: FlagEra,
    era_after: FlagEra,
    *,
    objects: bool = True,
) -> Iterator[Change]:
    """Changes from one set of flags (without ``KF_``) to another, one for each flag.

    ``objects``: whether the kfunc takes a kernel object by pointer, without which there is none to distrust
    (:func:`holdfast.history.prototypes.takes_objects`). Where the older kernel gives SPINLOCK_SAFE to no
    kfunc, the flag only writes down what was a list in the verifier before (7.3).
    """
    old, new = flags_text(before), flags_text(after)
    for flag in sorted((before ^ after) - _POINTERS):
        rule = FLAGS.get(flag)
        gained = flag in after
        if rule is None:
            effect, asks = Effect.TIGHTENS, "its meaning is not known here"
        else:
            effect, asks = (rule.added if gained else rule.removed), rule.asks
            if flag == "SPINLOCK_SAFE" and not (era_before.known & era_after.known & {flag}):
                effect = Effect.NEUTRAL
        yield Change(Aspect.FLAGS, effect, f"{'gained' if gained else 'lost'} KF_{flag}: {asks}", old, new)
    if objects:
        yield from _pointers(_demand(before, era_before), _demand(after, era_after), old, new)


def _demand(flags: frozenset[str], era: FlagEra) -> str:
    """Which of the two flags is in force. KF_RCU is the weaker and wins; KF_RELEASE implies the other
    (is_kfunc_trusted_args() of kernel/bpf/verifier.c, 6.1 to 6.19).
    """
    if "RCU" in flags:
        return "RCU"
    if flags & {"TRUSTED_ARGS", "RELEASE"} or era.trusted_by_default:
        return "TRUSTED_ARGS"
    return ""


def _pointers(had: str, has: str, old: str, new: str) -> Iterator[Change]:
    if had == has:
        return
    effect = Effect.TIGHTENS if _RANK[has] > _RANK[had] else Effect.WIDENS
    yield Change(Aspect.FLAGS, effect, f"{_DEMANDS[has]}; before, {_DEMANDS[had]}", old, new)
