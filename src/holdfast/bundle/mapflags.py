# SPDX-License-Identifier: Apache-2.0
"""Flags of MAP_CREATE by name (``include/uapi/linux/bpf.h``), without ``BPF_F_``.

Those that a declaration in an object can carry: flags that go with a descriptor (VTYPE_BTF_OBJ_FD, TOKEN_FD)
are the loader's.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = ["MAP_FLAGS", "flag_names"]

MAP_FLAGS: Final = MappingProxyType(
    {
        "NO_PREALLOC": 1 << 0,
        "NO_COMMON_LRU": 1 << 1,
        "NUMA_NODE": 1 << 2,
        "RDONLY": 1 << 3,
        "WRONLY": 1 << 4,
        "STACK_BUILD_ID": 1 << 5,
        "ZERO_SEED": 1 << 6,
        "RDONLY_PROG": 1 << 7,
        "WRONLY_PROG": 1 << 8,
        "CLONE": 1 << 9,
        "MMAPABLE": 1 << 10,
        "PRESERVE_ELEMS": 1 << 11,
        "INNER_MAP": 1 << 12,
        "LINK": 1 << 13,
        "SEGV_ON_FAULT": 1 << 17,
        "NO_USER_CONV": 1 << 18,
        "RB_OVERWRITE": 1 << 19,
    }
)


def flag_names(flags: int) -> str:
    """Returns the names of the bits, ``none`` for 0; unknown bits as a number."""
    names = [name for name, bit in MAP_FLAGS.items() if flags & bit]
    rest = flags & ~sum(MAP_FLAGS.values())
    return " ".join([*names, *([hex(rest)] if rest else [])]) or "none"
