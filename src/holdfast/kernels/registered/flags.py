# SPDX-License-Identifier: Apache-2.0
"""Names of the KF_ bits of a kfunc (``include/linux/btf.h``).

One table serves all releases: bits were added and left, none was given a second meaning. Compared by hand in
the headers of 6.1.176, 6.12.107, 6.18.15, 7.1.13 and 7.3.4.
"""

from __future__ import annotations

from typing import Final

__all__ = ["KF_BITS", "names"]

KF_BITS: Final[dict[int, str]] = {
    0: "ACQUIRE",
    1: "RELEASE",
    2: "RET_NULL",
    3: "KPTR_GET",  # 6.0 to 6.3; in 6.1, not in 6.12
    4: "TRUSTED_ARGS",  # 6.1 to 6.19; not in 7.1: all kfuncs have it since 7.0
    5: "SLEEPABLE",
    6: "DESTRUCTIVE",
    7: "RCU",  # 6.2
    8: "ITER_NEW",  # 6.4, as the next two
    9: "ITER_NEXT",
    10: "ITER_DESTROY",
    11: "RCU_PROTECTED",  # 6.7
    12: "FASTCALL",  # 6.13; in 6.18, not in 6.12
    13: "ARENA_RET",  # 6.17; in 6.18, as the next two
    14: "ARENA_ARG1",
    15: "ARENA_ARG2",
    16: "IMPLICIT_ARGS",  # 7.0
    17: "SPINLOCK_SAFE",  # 7.3
    18: "PERFMON",  # 7.3
}
_KNOWN: Final = sum(1 << bit for bit in KF_BITS)


def names(bits: int) -> frozenset[str] | None:
    """The flags' names without ``KF_``; None when a bit is set that no known release has."""
    if bits & ~_KNOWN:
        return None
    return frozenset(name for bit, name in KF_BITS.items() if bits >> bit & 1)
