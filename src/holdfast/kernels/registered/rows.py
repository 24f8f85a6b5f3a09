# SPDX-License-Identifier: Apache-2.0
"""From sets to one row for each kfunc."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from holdfast.kernels.kfuncs import FMOD_RET_TESTS, Registration
from holdfast.kernels.registered.hooks import COMMON
from holdfast.kernels.registered.image import is_for_kfuncs
from holdfast.kernels.registered.result import KfuncSet, Role, SetEntry
from holdfast.terms import Evidence, ProgramType

__all__ = ["Filters", "HookTypes", "rows"]

Filters = Mapping[ProgramType, tuple[str, ...]]
"""Names of the filters that are run for a kfunc, for the program types where any is."""

# What register_btf_fmodret_id_set() registers, for images whose code is not read: fmod_ret targets of
# net/bpf/test_run.c, of HID-BPF in 6.3 to 6.10 and of MPTCP (net/mptcp/bpf.c).
_FMOD_RET: Final = FMOD_RET_TESTS | {
    "bpf_modify_return_test_tp",
    "hid_bpf_device_event",
    "hid_bpf_rdesc_fixup",
    "__hid_bpf_tail_call",
    "update_socket_protocol",
}


@dataclass(frozen=True, slots=True)
class HookTypes:
    """Which types look at a hook. ``every`` are all that the kernel has; ``settled`` are the hooks of which
    all types are known, None for all of them."""

    by_type: Mapping[ProgramType, str]
    every: frozenset[ProgramType]
    settled: frozenset[str] | None
    evidence: Evidence

    def of(self, hook: str | None) -> frozenset[ProgramType] | None:
        """Those of one hook, None where not all are known. No hook at all admits no type, but only if all
        hooks are known."""
        if self.settled is not None and hook not in self.settled:
            return None
        if hook == COMMON:
            return self.every
        return frozenset(t for t, its in self.by_type.items() if its == hook and hook is not None)


@dataclass(slots=True)
class _Row:
    """What is gathered of one kfunc."""

    module: str | None
    flags: list[frozenset[str] | None] = field(default_factory=list)
    common: set[frozenset[str]] = field(default_factory=set)
    by_type: dict[ProgramType, set[frozenset[str]]] = field(default_factory=dict)
    types_known: bool = True
    filters: dict[ProgramType, dict[str, None]] = field(default_factory=dict)


def rows(
    sets: Iterable[KfuncSet], doubtful: frozenset[tuple[str | None, int]], hooks: HookTypes | None
) -> tuple[dict[str, Registration], dict[str, Filters], list[str]]:
    """(registrations by name, filters by name and program type, notes). ``doubtful`` are the
    (module, address) of sets whose registrations are not all known."""
    sets = list(sets)
    flagged = any(is_for_kfuncs(one) for one in sets if one.module is None)
    gathered: dict[str, _Row] = {}
    notes: list[str] = []
    idle: list[tuple[KfuncSet, SetEntry]] = []
    for one in sets:
        if one.role is Role.FMOD_RET or (one.role is Role.UNREGISTERED and not is_for_kfuncs(one)):
            continue
        if flagged and not is_for_kfuncs(one):
            # register_btf_kfunc_id_set() refuses these since 6.9 (79b47344bbc5).
            continue
        if one.role is Role.UNKNOWN and all(entry.function in _FMOD_RET for entry in one.entries):
            continue
        if one.role is Role.UNREGISTERED:
            # Some only sort kfuncs of other sets for a filter (scx_kfunc_ids_cpu_only, 7.2).
            idle += [(one, entry) for entry in one.entries]
            continue
        for entry in one.entries:
            row = gathered.setdefault(entry.function, _Row(one.module))
            if row.module != one.module:
                notes.append(f"{entry.function} is in sets of {_image(row.module)} and {_image(one.module)}")
                continue
            _add(row, one, entry, hooks, (one.module, one.address) in doubtful)
    for one, entry in idle:
        if entry.function not in gathered:
            row = gathered[entry.function] = _Row(one.module)
            row.flags.append(entry.flags)
            row.types_known = False
    result = {}
    for name, row in sorted(gathered.items()):
        result[name] = _registration(name, row, hooks, notes)
    filters: dict[str, Filters] = {
        name: {program_type: tuple(its) for program_type, its in sorted(row.filters.items())}
        for name, row in sorted(gathered.items())
        if row.filters
    }
    return result, filters, notes


def _image(module: str | None) -> str:
    return f"module {module}" if module else "vmlinux"


def _add(row: _Row, one: KfuncSet, entry: SetEntry, hooks: HookTypes | None, doubtful: bool) -> None:
    row.flags.append(entry.flags)
    if hooks is None or doubtful or one.role is not Role.KFUNC:
        row.types_known = False
    for call in one.calls:
        if call.program_type is None:
            continue  # register_btf_fmodret_id_set(), or a type that is not known: doubtful
        types = hooks.of(call.hook) if hooks else None
        if call.filter:
            # A hook runs the filters of all its sets (btf_populate_kfunc_set), so one does not reach the
            # types of another hook.
            for program_type in types or ():
                row.filters.setdefault(program_type, {})[call.filter] = None
        if types is None:
            row.types_known = False
        elif entry.flags is not None:
            if call.hook == COMMON:
                row.common.add(entry.flags)
            for program_type in types:
                row.by_type.setdefault(program_type, set()).add(entry.flags)
        else:
            for program_type in types:
                row.by_type.setdefault(program_type, set())


def _registration(name: str, row: _Row, hooks: HookTypes | None, notes: list[str]) -> Registration:
    known = [its for its in row.flags if its is not None]
    flags = frozenset.intersection(*known) if known and len(known) == len(row.flags) else None
    if flags is None:
        notes.append(f"{name} has a KF_ flag that no known release has")
    types = frozenset(row.by_type) if row.types_known else None
    by_type: dict[ProgramType, frozenset[str]] | None = None
    if flags is not None and any(its != flags for its in known):
        by_type, flags = _flags_by_type(name, row, flags, notes)
    evidence: tuple[Evidence, ...] = (Evidence.BTF_IDS,)
    if types is not None and hooks is not None:
        evidence += (Evidence.INIT_CODE,)
        if hooks.evidence is not Evidence.INIT_CODE:
            evidence += (hooks.evidence,)
    filters = {kind: tuple(its) for kind, its in sorted(row.filters.items())}
    return Registration(flags, types, bool(row.filters), evidence, row.module, by_type, filters)


def _flags_by_type(
    name: str, row: _Row, flags: frozenset[str], notes: list[str]
) -> tuple[dict[ProgramType, frozenset[str]] | None, frozenset[str] | None]:
    """Flags per type, and those common to all, for a kfunc whose sets differ.

    btf_kfunc_id_set_contains() looks at COMMON first. In one hook sets are merged and sorted, so that of two
    rows of one function either can be found.
    """
    if len(row.common) == 1:
        return None, next(iter(row.common))
    found = {}
    for program_type, its in row.by_type.items():
        if len(its) != 1:
            notes.append(f"{name} is in two sets of one hook with different flags")
            return None, None
        found[program_type] = next(iter(its))
    if found and row.types_known and len(set(found.values())) == 1:
        return None, next(iter(found.values()))
    return found or None, flags
