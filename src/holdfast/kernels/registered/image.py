# SPDX-License-Identifier: Apache-2.0
"""The sets of one image, vmlinux or a module, each with the calls that register it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.btf import Btf
from holdfast.btf.types import Kind, Struct
from holdfast.kernels.registered import calls as registrations
from holdfast.kernels.registered.calls import Door
from holdfast.kernels.registered.disasm import X86Reader
from holdfast.kernels.registered.result import Call, KfuncSet, Role
from holdfast.kernels.registered.sets import SET8_KFUNCS, IdNames, RawSet, read_set
from holdfast.kernels.registered.space import Space
from holdfast.terms import ProgramType

__all__ = ["Layout", "is_for_kfuncs", "layout", "registered_sets", "unregistered_sets"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where struct btf_kfunc_id_set has its members (bytes); ``filter`` is None before 6.5."""

    set: int
    filter: int | None


def layout(btf: Btf) -> Layout | None:
    """As vmlinux BTF tells it; None for a kernel without the struct, or with that of 5.18 and 5.19, whose
    sets have no flags of their own."""
    found = btf.find("btf_kfunc_id_set", Kind.STRUCT)
    decoded = btf.type(found) if found else None
    if not isinstance(decoded, Struct):
        return None
    places = {member.name: member.bit_offset // 8 for member in decoded.members}
    return Layout(places["set"], places.get("filter")) if "set" in places else None


def registered_sets(
    space: Space,
    raw: list[RawSet],
    ids: IdNames,
    doors: Mapping[Door, int],
    where: Layout,
    hooks: Mapping[ProgramType, str],
    module: str | None,
) -> tuple[list[KfuncSet], frozenset[int], list[str]]:
    """The sets of ``raw`` and those that only code leads to, the addresses of those whose registrations are
    not all known, and notes."""
    by_address = {one.address: one for one in raw}
    found = registrations.find(space, X86Reader(space), doors) if doors else registrations.Found((), ())
    notes = list(found.gaps)
    calls: dict[int, list[Call]] = {}
    doors_of: dict[int, set[Door]] = {}
    doubtful: set[int] = set()
    for one in found.calls:
        address = space.word(one.kset + where.set)
        if address is not None and address not in by_address:
            unnamed = read_set(space, address, ids)
            if unnamed is not None:
                by_address[address] = unnamed
        if address is None or address not in by_address:
            notes.append(f"{one.function} registers {one.kset:#x}, which leads to no set of .BTF_ids")
            continue
        doors_of.setdefault(address, set()).add(one.door)
        hook = None
        if one.door is Door.KFUNC:
            if one.program_type is None:
                doubtful.add(address)
                notes.append(f"{one.function} registers {by_address[address].name} for a type it is given")
            else:
                hook = _hook(one.program_type, hooks)
        calls.setdefault(address, []).append(
            Call(one.program_type, hook, one.site, one.function, _filter(space, one.kset, where))
        )
    if notes and len(notes) > len(doubtful):
        doubtful.update(by_address)  # what is not resolved may be about any of them
    sets = []
    for address, its in sorted(by_address.items()):
        through = doors_of.get(address, set())
        if Door.KFUNC in through:
            role = Role.KFUNC
        elif address in doubtful:
            role = Role.UNKNOWN
        else:
            role = Role.FMOD_RET if through else Role.UNREGISTERED
        sets.append(_kfunc_set(its, module, role, tuple(calls.get(address, ()))))
    return sets, frozenset(doubtful), notes


def unregistered_sets(raw: list[RawSet], module: str | None) -> list[KfuncSet]:
    """The sets of an image whose code is not read."""
    return [_kfunc_set(one, module, Role.UNKNOWN, ()) for one in raw]


def _kfunc_set(one: RawSet, module: str | None, role: Role, calls: tuple[Call, ...]) -> KfuncSet:
    return KfuncSet(one.name, module, one.address, one.header, one.entries, role, calls)


def _hook(number: int, hooks: Mapping[ProgramType, str]) -> str | None:
    try:
        return hooks.get(ProgramType(number))
    except ValueError:
        return None


def _filter(space: Space, kset: int, where: Layout) -> str | None:
    if where.filter is None:
        return None
    address = space.word(kset + where.filter)
    if not address:
        return None
    return space.names.at(address) or f"{address:#x}"


def is_for_kfuncs(one: KfuncSet) -> bool:
    """Whether the set's header says that it was made for kfuncs."""
    return bool(one.header & SET8_KFUNCS)
