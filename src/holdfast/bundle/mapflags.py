# SPDX-License-Identifier: Apache-2.0
"""Flags of MAP_CREATE by name (``include/uapi/linux/bpf.h``), without ``BPF_F_``.

Those that a declaration in an object can carry: flags that go with a descriptor (VTYPE_BTF_OBJ_FD, TOKEN_FD)
are the loader's.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from holdfast.terms import MapFlag

__all__ = ["MAP_FLAGS", "flag_names"]

_LOADERS_OWN: Final = MapFlag.PATH_FD | MapFlag.VTYPE_BTF_OBJ_FD | MapFlag.TOKEN_FD
MAP_FLAGS: Final = MappingProxyType(
    {flag.name: flag.value for flag in MapFlag if flag.name and flag not in _LOADERS_OWN}
)


def flag_names(flags: int) -> str:
    """Returns the names of the bits, ``none`` for 0; unknown bits as a number."""
    names = [name for name, bit in MAP_FLAGS.items() if flags & bit]
    rest = flags & ~sum(MAP_FLAGS.values())
    return " ".join([*names, *([hex(rest)] if rest else [])]) or "none"
