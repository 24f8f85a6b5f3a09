# SPDX-License-Identifier: Apache-2.0
"""Special fields in map values: in which map types they may stand, and which programs may use such maps.

map_check_btf in kernel/bpf/syscall.c and check_map_prog_compatibility in kernel/bpf/verifier.c, trees 5.10 to
7.1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, Sign, combine
from holdfast.rules.eras import trees_in
from holdfast.rules.map_table import TREES
from holdfast.rules.program_types import TRACING_TYPES
from holdfast.terms import MapType, ProgramType

__all__ = ["Field", "map_takes", "needs_btf", "program_takes", "users"]


class Field(StrEnum):
    """Fields that the kernel finds by name or tag in the BTF of a map's value."""

    SPIN_LOCK = "bpf_spin_lock"
    RES_SPIN_LOCK = "bpf_res_spin_lock"
    TIMER = "bpf_timer"
    WORKQUEUE = "bpf_wq"
    TASK_WORK = "bpf_task_work"
    KPTR = "kptr"
    UPTR = "uptr"
    LIST_HEAD = "bpf_list_head"
    RB_ROOT = "bpf_rb_root"
    REFCOUNT = "bpf_refcount"


_CREATE: Final = "map_check_btf in kernel/bpf/syscall.c"
_LOAD: Final = "check_map_prog_compatibility in kernel/bpf/verifier.c"
_LOCK_5_10: Final = "HASH ARRAY CGROUP_STORAGE SK_STORAGE INODE_STORAGE"
_LOCK_6_1: Final = f"{_LOCK_5_10} TASK_STORAGE"
_LOCK_6_12: Final = f"{_LOCK_6_1} CGRP_STORAGE"
_TIMER: Final = "HASH LRU_HASH ARRAY"
_KPTR_6_1: Final = "HASH LRU_HASH ARRAY PERCPU_ARRAY"
_KPTR_6_12: Final = (
    "HASH PERCPU_HASH LRU_HASH LRU_PERCPU_HASH ARRAY PERCPU_ARRAY "
    "SK_STORAGE INODE_STORAGE TASK_STORAGE CGRP_STORAGE"
)
# field -> per tree, the map types whose values may hold it; "-": the kernel does not know the field
_MAPS: Final[dict[Field, tuple[str, ...]]] = {
    Field.SPIN_LOCK: (_LOCK_5_10, _LOCK_6_1, _LOCK_6_12),
    Field.RES_SPIN_LOCK: ("-", "-", "-", _LOCK_6_12),
    Field.TIMER: ("-", _TIMER),
    Field.WORKQUEUE: ("-", "-", _TIMER),
    Field.TASK_WORK: ("-", "-", "-", _TIMER),
    Field.KPTR: ("-", _KPTR_6_1, _KPTR_6_12),
    Field.UPTR: ("-", "-", "-", "TASK_STORAGE"),
    Field.LIST_HEAD: ("-", "-", _TIMER),
    Field.RB_ROOT: ("-", "-", _TIMER),
    Field.REFCOUNT: ("-", "-", _KPTR_6_12),
}
# The witness that a kernel knows a field at all: the struct itself, or the field type's enumerator.
_SIGNS: Final = {
    Field.SPIN_LOCK: Sign.struct("bpf_spin_lock"),
    Field.RES_SPIN_LOCK: Sign.value("btf_field_type", "BPF_RES_SPIN_LOCK"),
    Field.TIMER: Sign.struct("bpf_timer"),
    Field.WORKQUEUE: Sign.struct("bpf_wq"),
    Field.TASK_WORK: Sign.struct("bpf_task_work"),
    Field.UPTR: Sign.value("btf_field_type", "BPF_UPTR"),
    Field.LIST_HEAD: Sign.struct("bpf_list_head"),
    Field.RB_ROOT: Sign.struct("bpf_rb_root"),
    Field.REFCOUNT: Sign.struct("bpf_refcount"),
}
_COLLECTIONS: Final = frozenset({Field.LIST_HEAD, Field.RB_ROOT})
_LOCKS: Final = frozenset({Field.SPIN_LOCK, Field.RES_SPIN_LOCK})


def map_takes(field: Field, map_type: MapType, ask: Ask) -> Ruling:
    """Whether a map of that type can be created, with its BTF, with such a field in its value.

    A kernel that does not know the field takes it for plain bytes.
    """
    sign = _SIGNS.get(field)
    known = ask.btf(sign) if sign else None
    if known is False:
        return Ruling(Allowed.YES, "", str(sign))
    trees, by_release = trees_in(ask, TREES)
    row = _MAPS[field]
    cells = [row[min(tree, len(row) - 1)] for tree in trees]
    if known:
        # Between two trees the field came with the rule of the later one.
        cells = [cell for cell in cells if cell != "-"] or [next(cell for cell in row if cell != "-")]
    # an RHASH (7.2) holds what a HASH does, but no list or tree
    like = MapType.HASH if map_type is MapType.RHASH and field not in _COLLECTIONS else map_type
    rulings = []
    for cell in cells:
        allowed = cell == "-" or like.name in cell.split()
        why = "" if allowed else f"a value of a {map_type.name} map cannot hold a {field}"
        rulings.append(Ruling(Allowed.YES if allowed else Allowed.NO, why, _CREATE, by_release=by_release))
    return combine(rulings)


_WITH_BTF: Final = frozenset(
    {MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE}
)
# By the helper that asks for the field's place in the map's BTF.
_USERS: Final[dict[Field, frozenset[int]]] = {
    Field.SPIN_LOCK: frozenset({93}),  # bpf_spin_lock
    Field.TIMER: frozenset({169}),  # bpf_timer_init
    Field.KPTR: frozenset({194}),  # bpf_kptr_xchg
}


def needs_btf(map_type: MapType) -> bool:
    """Whether the kernel creates no such map without BTF of its value (bpf_local_storage_map_alloc_check).

    Others libbpf creates without BTF when the kernel objects to it (``bpf_object__create_map()``).
    """
    return map_type in _WITH_BTF


def users(field: Field) -> frozenset[int]:
    """Numbers of the helpers that work on the field, and only where the map has its BTF."""
    return _USERS.get(field, frozenset())


def program_takes(field: Field, program_type: ProgramType, sleepable: bool, ask: Ask) -> Ruling:
    """Whether a program of that kind may use a map whose values hold such a field."""
    sign = _SIGNS.get(field)
    known = ask.btf(sign) if sign else None
    if known is False:
        return Ruling(Allowed.YES, "", str(sign))
    trees, by_release = trees_in(ask, TREES)
    row = _MAPS[field]
    rulings = []
    for tree in trees:
        plain = not known and row[min(tree, len(row) - 1)] == "-"
        why = "" if plain else _objection(field, program_type, sleepable, tree)
        rulings.append(Ruling(Allowed.NO if why else Allowed.YES, why, _LOAD, by_release=by_release))
    return combine(rulings)


def _objection(field: Field, program_type: ProgramType, sleepable: bool, tree: int) -> str:
    tracing = program_type in TRACING_TYPES
    if field in _LOCKS:
        # The 7.3 tree keeps tracing programs from bpf_spin_lock alone.
        kept_off = tracing and (field is Field.SPIN_LOCK or tree < TREES.index((7, 3)))
        if program_type is ProgramType.SOCKET_FILTER or kept_off:
            return f"{program_type.name} programs cannot use maps with a {field}"
        if sleepable and tree == 1:
            # The 6.1 tree says so, the 6.12 tree no longer.
            return f"sleepable programs cannot use maps with a {field} on this kernel"
    if field in (Field.LIST_HEAD, Field.RB_ROOT) and tracing:
        return f"{program_type.name} programs cannot use maps with a {field}"
    if field in (Field.TIMER, Field.WORKQUEUE) and tracing and tree < 4:
        return f"{program_type.name} programs cannot use maps with a {field} before 7.1"
    return ""
