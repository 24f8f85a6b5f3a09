# SPDX-License-Identifier: Apache-2.0
"""One kfunc in two builds: what changed in its prototype, flags, program types and module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from holdfast.history import flags, prototypes
from holdfast.history.builds import Build, Presence, State
from holdfast.history.change import Aspect, Change, Effect
from holdfast.terms import ProgramType

__all__ = [
    "compare_flags",
    "compare_modules",
    "compare_prototypes",
    "compare_states",
    "compare_types",
    "types_text",
]


def compare_states(old: Build, before: State, new: Build, after: State) -> list[Change]:
    """All changes of a kfunc that both builds have; what one of them does not know is left out."""
    found = [
        *compare_prototypes(before, after),
        *compare_flags(old, before, new, after),
        *compare_types(before, after),
    ]
    found += compare_modules(before, after)
    if before.exposed != after.exposed:
        what = (
            "its BTF shows implicit parameters (pahole left out its tag): libbpf refuses the right prototype"
        )
        if after.exposed:
            found.append(Change(Aspect.PROTOTYPE, Effect.BREAKS, what))
        else:
            found.append(
                Change(Aspect.PROTOTYPE, Effect.WIDENS, "its BTF hides the implicit parameters again")
            )
    return found


def compare_prototypes(before: State, after: State) -> tuple[Change, ...]:
    """Changes of the prototype; none where BTF of one build is known to show a wrong one."""
    if before.function is None or after.function is None or before.exposed or after.exposed:
        return ()
    return prototypes.compare(before.function, after.function)


def compare_flags(old: Build, before: State, new: Build, after: State) -> Iterator[Change]:
    """Changes of the flags; per program type where sets that differ register it."""
    same_era = old.era.trusted_by_default == new.era.trusted_by_default
    if before.flags == after.flags and same_era and before.by_type == after.by_type:
        return
    objects = after.function is None or prototypes.takes_objects(after.function)
    if not before.by_type and not after.by_type:
        if before.flags is not None and after.flags is not None:
            yield from flags.compare(before.flags, after.flags, old.era, new.era, objects=objects)
        return
    by_what: dict[str, tuple[Change, list[ProgramType]]] = {}
    for kind in sorted((before.program_types or frozenset()) & (after.program_types or frozenset())):
        had, has = _flags_for(before, kind), _flags_for(after, kind)
        if had is not None and has is not None:
            for change in flags.compare(had, has, old.era, new.era, objects=objects):
                by_what.setdefault(change.what, (change, []))[1].append(kind)
    for change, kinds in by_what.values():
        what = f"for {types_text(kinds)}: {change.what}"
        yield replace(change, what=what, program_types=frozenset(kinds))


def compare_types(before: State, after: State) -> Iterator[Change]:
    """Program types that were gained or lost, and filters that came or went."""
    had, has = before.program_types, after.program_types
    if had is None or has is None or (had == has and before.narrowed == after.narrowed):
        return
    old, new = types_text(had), types_text(has)
    more, less = has - had, had - has
    filtered = after.narrowed and not before.narrowed
    if more:
        # The filter is told of the kfunc, not of each type: one that comes with a type may be that type's.
        through = ", a filter admits fewer programs" if filtered else ""
        what = f"callable from {types_text(more)} too{through}"
        yield Change(Aspect.PROGRAM_TYPES, Effect.WIDENS, what, old, new, more)
    if less:
        what = f"no longer callable from {types_text(less)}"
        yield Change(Aspect.PROGRAM_TYPES, Effect.BREAKS, what, old, new, less)
    if filtered and not more:
        yield Change(Aspect.PROGRAM_TYPES, Effect.TIGHTENS, "a filter admits fewer programs", old, new)
    elif before.narrowed and not after.narrowed:
        yield Change(Aspect.PROGRAM_TYPES, Effect.WIDENS, "no filter any more", old, new)


def types_text(kinds: Iterable[ProgramType] | None) -> str:
    """``SCHED_CLS XDP`` in the UAPI's order; ``unknown``; ``none``."""
    if kinds is None:
        return "unknown"
    return " ".join(kind.name for kind in sorted(kinds)) or "none"


def _flags_for(state: State, kind: ProgramType) -> frozenset[str] | None:
    if state.by_type is not None and kind in state.by_type:
        return state.by_type[kind]
    return state.flags


def compare_modules(before: State, after: State) -> Iterator[Change]:
    """A move from one module to another, or from or to vmlinux."""
    if before.module == after.module or not before.presence is after.presence is Presence.PRESENT:
        return
    old, new = before.module or "vmlinux", after.module or "vmlinux"
    if after.module is None:
        yield Change(Aspect.MODULE, Effect.WIDENS, f"in vmlinux now, module {old} before", old, new)
    else:
        what = f"module {new} must be loaded; it was in {old}"
        yield Change(Aspect.MODULE, Effect.TIGHTENS, what, old, new)
