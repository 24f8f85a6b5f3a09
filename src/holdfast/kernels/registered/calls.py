# SPDX-License-Identifier: Apache-2.0
"""Which sets an image registers, with which arguments: every call that registers, resolved."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from holdfast.kernels.registered.disasm import X86Reader
from holdfast.kernels.registered.sites import calls_of
from holdfast.kernels.registered.space import Space
from holdfast.kernels.registered.walk import Reached, Walker, function_at

__all__ = ["REGISTERERS", "Door", "Found", "Registered", "find"]


class Door(StrEnum):
    """A function that registers a set."""

    KFUNC = "register_btf_kfunc_id_set"
    FMOD_RET = "register_btf_fmodret_id_set"  # 6.3; 5b481acab4ce


REGISTERERS: Final = tuple(Door)
_FARTHEST: Final = 3  # callers of callers that are asked for what a function passes on


@dataclass(frozen=True, slots=True)
class Registered:
    """A call with its arguments. ``kset`` is the address of a struct btf_kfunc_id_set; ``program_type`` is
    None where it is not known, and for :attr:`Door.FMOD_RET`."""

    door: Door
    kset: int
    program_type: int | None
    site: int
    function: str


@dataclass(frozen=True, slots=True)
class Found:
    """All calls of an image. ``gaps`` say which could not be resolved; while there is one, a set that is not
    among the calls may be registered all the same."""

    calls: tuple[Registered, ...]
    gaps: tuple[str, ...]


def find(space: Space, reader: X86Reader, doors: Mapping[Door, int]) -> Found:
    """Every call of ``doors`` (their addresses) in the code of ``space``."""
    by_address = {address: door for door, address in doors.items()}
    walker = Walker(space, reader, by_address.keys())
    open_sites: set[int] = set()
    for address in by_address:
        open_sites.update(calls_of(space, address))
    gaps: list[str] = []
    reached: set[Reached] = set()
    for start in sorted(_roots(space, open_sites, gaps)):
        found, complete = _resolve(space, walker, start, by_address, frozenset(), 0)
        reached |= found
        if not complete:
            gaps.append(f"not all of {_name(space, start)} could be followed")
    calls = []
    mixed = _mixed(reached)
    for one in sorted(reached, key=lambda one: (one.site, one.rsi or 0, one.rdi or 0)):
        open_sites.discard(one.site)
        door = by_address[one.target]
        if (one.site, one.callers) in mixed:
            one = replace(one, rdi=None)
        kset = one.rdi if door is Door.FMOD_RET else one.rsi
        if kset is None:
            gaps.append(f"{_name(space, one.site)} registers a set that its code does not name")
            continue
        number = None if door is Door.FMOD_RET or one.rdi is None else one.rdi & 0xFFFFFFFF
        calls.append(Registered(door, kset, number, one.site, _name(space, one.site)))
    calls = list(dict.fromkeys(calls))
    gaps += [
        f"no way was found to the call at {site:#x} in {_name(space, site)}" for site in sorted(open_sites)
    ]
    return Found(tuple(calls), tuple(dict.fromkeys(gaps)))


def _mixed(reached: Collection[Reached]) -> set[tuple[int, tuple[int, ...]]]:
    """Calls that are reached with several sets and several types in more than one way each.

    Code that asks one question twice, each time in a way of its own, seems to let a set meet a type that it
    never meets; nothing tells this from code that wants all pairs.
    """
    arguments: dict[tuple[int, tuple[int, ...]], set[tuple[int | None, int | None]]] = {}
    for one in reached:
        arguments.setdefault((one.site, one.callers), set()).add((one.rdi, one.rsi))
    return {
        place
        for place, pairs in arguments.items()
        if len(pairs) > max(len({rdi for rdi, _ in pairs}), len({rsi for _, rsi in pairs}))
    }


def _name(space: Space, address: int) -> str:
    found = function_at(space, address)
    return found[1] if found else f"{address:#x}"


def _roots(space: Space, sites: Collection[int], gaps: list[str]) -> set[int]:
    """Where the functions begin that hold these calls; for a part that was moved away, its function."""
    starts: set[int] = set()
    for site in sites:
        found = function_at(space, site)
        if found is None:
            gaps.append(f"no symbol tells which function the call at {site:#x} is in")
            continue
        stem, cold, _ = found[1].partition(".cold")
        starts.update(space.names.find(stem) if cold else [found[0]])
    return starts


def _resolve(
    space: Space,
    walker: Walker,
    start: int,
    doors: Mapping[int, Door],
    enter: frozenset[int],
    depth: int,
) -> tuple[set[Reached], bool]:
    """The calls that a function makes, by way of its callers where it passes on what it was given."""
    trail = walker.walk(start, enter=enter)
    known = {one for one in trail.calls if _is_known(one, doors)}
    if known == trail.calls or depth == _FARTHEST:
        return trail.calls, trail.complete
    inner = enter | {start}
    callers = {found[0] for site in calls_of(space, start) if (found := function_at(space, site))} - inner
    if not callers:
        return trail.calls, trail.complete
    complete = trail.complete
    for caller in sorted(callers):
        further, whole = _resolve(space, walker, caller, doors, inner, depth + 1)
        known |= further
        complete = complete and whole
    return known, complete


def _is_known(one: Reached, doors: Mapping[int, Door]) -> bool:
    return one.rdi is not None and (one.rsi is not None or doors[one.target] is Door.FMOD_RET)
