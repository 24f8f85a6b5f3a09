# SPDX-License-Identifier: Apache-2.0
"""How maps fit helpers and programs: check_map_func_compatibility, check_map_prog_compatibility.

Both are in kernel/bpf/verifier.c; the table is ``map_table``.
"""

from __future__ import annotations

from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, combine
from holdfast.rules.eras import since, trees_in
from holdfast.rules.helper_table import HELPERS
from holdfast.rules.map_table import HELPERS_OF_MAP, MAPS_OF_HELPER, SLEEPABLE_MAPS, TREES
from holdfast.rules.map_types import Flag
from holdfast.rules.program_types import TRACING_TYPES
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = ["helper_takes", "locked_inside", "program_takes"]

_FUNC: Final = "check_map_func_compatibility in kernel/bpf/verifier.c"
_PROG: Final = "check_map_prog_compatibility in kernel/bpf/verifier.c"
# may_update_sockmap, the same in all five trees
_SOCKMAP_WRITERS: Final = frozenset(
    {
        ProgramType.SOCKET_FILTER,
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.XDP,
        ProgramType.SK_REUSEPORT,
        ProgramType.FLOW_DISSECTOR,
        ProgramType.SK_LOOKUP,
    }
)
_PREALLOCATED: Final = frozenset({MapType.HASH, MapType.PERCPU_HASH, MapType.HASH_OF_MAPS})


def helper_takes(
    helper: int, map_type: MapType, program_type: ProgramType, attach_type: AttachType | None, ask: Ask
) -> Ruling:
    """Whether a call of that helper with a map of that type passes the verifier's table."""
    name = HELPERS.get(helper, "")
    if name.startswith("map_") and map_type is MapType.STRUCT_OPS:
        return Ruling(Allowed.NO, "a STRUCT_OPS map cannot be used in a program", _PROG)
    trees, by_release = trees_in(ask, TREES)
    rulings = []
    for tree in trees:
        helpers = _at(HELPERS_OF_MAP.get(map_type.name), tree)
        maps = _at(MAPS_OF_HELPER.get(name), tree)
        allowed = (helpers is None or _listed(name, helpers, program_type, attach_type)) and (
            maps is None or map_type.name in maps.split()
        )
        why = "" if allowed else f"bpf_{name} does not take a map of type {map_type.name}"
        rulings.append(Ruling(Allowed.YES if allowed else Allowed.NO, why, _FUNC, by_release=by_release))
    return combine(rulings)


def _at(row: tuple[str, ...] | None, tree: int) -> str | None:
    return None if row is None else row[min(tree, len(row) - 1)]


def _listed(name: str, helpers: str, program_type: ProgramType, attach_type: AttachType | None) -> bool:
    if name in helpers.split():
        return True
    if "@sockmap" not in helpers or name not in ("map_update_elem", "map_delete_elem"):
        return False
    if program_type is ProgramType.SOCK_OPS:
        return name == "map_delete_elem"
    return program_type in _SOCKMAP_WRITERS or attach_type is AttachType.TRACE_ITER


def program_takes(
    map_type: MapType, flags: int, program_type: ProgramType, sleepable: bool, ask: Ask
) -> tuple[Ruling, ...]:
    """What speaks against a program of that kind using a map of that type at all; empty: nothing.

    ``flags`` are the map's (NO_PREALLOC matters on kernels up to the 5.10 tree). What the map's values
    contain is judged by ``map_fields.program_takes``.
    """
    if map_type is MapType.STRUCT_OPS:
        return (Ruling(Allowed.NO, "a STRUCT_OPS map cannot be used in a program", _PROG),)
    found = []
    trees, by_release = trees_in(ask, TREES)
    if sleepable:
        rulings = []
        for tree in trees:
            allowed = map_type.name in SLEEPABLE_MAPS[tree].split()
            why = (
                ""
                if allowed
                else f"sleepable programs cannot use maps of type {map_type.name} on this kernel"
            )
            rulings.append(Ruling(Allowed.YES if allowed else Allowed.NO, why, _PROG, by_release=by_release))
        found.append(combine(rulings))
    if map_type in _PREALLOCATED and flags & Flag.NO_PREALLOC:
        # Gone between the 5.10 and 6.1 trees, when hash tables got an allocator of their own.
        text = ""
        if program_type is ProgramType.PERF_EVENT:
            text = "PERF_EVENT programs"
        elif sleepable:
            text = "sleepable programs"
        elif program_type in TRACING_TYPES and ask.config("PREEMPT_RT"):
            text = "tracing programs of a PREEMPT_RT kernel"
        if text and not since(ask, (6, 1)):
            allowed_then = Allowed.NO if since(ask, (5, 11)) is False else Allowed.UNKNOWN
            found.append(Ruling(allowed_then, f"{text} can use preallocated hash maps only", _PROG))
    return tuple(ruling for ruling in found if ruling.allowed is not Allowed.YES)


def locked_inside(ask: Ask) -> Ruling:
    """Whether an inner map may hold a bpf_spin_lock.

    bpf_map_meta_alloc in kernel/bpf/map_in_map.c; since d48995723c9a ("bpf: Allow locking bpf_spin_lock in
    inner map values", v6.2).
    """
    allowed = since(ask, (6, 2)) is not False
    why = "" if allowed else "an inner map cannot hold a bpf_spin_lock on this kernel"
    return Ruling(
        Allowed.YES if allowed else Allowed.NO, why, "bpf_map_meta_alloc in kernel/bpf/map_in_map.c"
    )
