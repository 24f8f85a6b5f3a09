# SPDX-License-Identifier: Apache-2.0
"""What changed between the builds that have a kfunc, each change told once.

Builds of one flavour are compared with their neighbours in time. Flavours are catalogued at different
releases: where another flavour has the same two states and builds between them, it tells the change more
exactly, and where several show one change, it lies in the span that they share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from holdfast.history import compare
from holdfast.history.builds import Build, Presence, State
from holdfast.history.change import Aspect, Change
from holdfast.terms import ProgramType

__all__ = ["Sighting", "Step", "changes"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One kfunc in one build. ``hidden_by`` is the option that this build's configuration lacks and without
    which there is no such kfunc, None where that is not why.
    """

    build: Build
    state: State
    hidden_by: str | None = None

    @property
    def presence(self) -> Presence:
        return self.state.presence


@dataclass(frozen=True, slots=True)
class Step:
    """A change and the two builds nearest to it: not yet in ``before``, already in ``after``."""

    change: Change
    before: Build
    after: Build


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one aspect is compared. ``value`` is equal where nothing differs, None where it is not known."""

    value: Callable[[State], object]
    differ: Callable[[Sighting, Sighting], Iterable[Change]]


def _sorted(by_type: Mapping[ProgramType, frozenset[str]] | None) -> object:
    return None if by_type is None else tuple(sorted(by_type.items()))


_RULES: Final = (
    _Rule(
        lambda state: None if state.exposed else state.function,
        lambda old, new: compare.compare_prototypes(old.state, new.state),
    ),
    _Rule(
        lambda state: None if state.flags is None else (state.flags, _sorted(state.by_type)),
        lambda old, new: compare.compare_flags(old.build, old.state, new.build, new.state),
    ),
    _Rule(
        lambda state: (state.program_types, state.narrowed) if state.program_types is not None else None,
        lambda old, new: compare.compare_types(old.state, new.state),
    ),
    _Rule(
        lambda state: state.module or "vmlinux",
        lambda old, new: compare.compare_modules(old.state, new.state),
    ),
)

_Row = tuple[int, Sighting, object]  # place among all sightings, and the value of the aspect
_Span = tuple[int, int, Change]


def changes(sightings: Sequence[Sighting]) -> Iterator[Step]:
    """The changes over some sightings of one kfunc, oldest first."""
    for rule in _RULES:
        tracks: dict[str, list[_Row]] = defaultdict(list)
        for at, one in enumerate(sightings):
            value = rule.value(one.state) if one.presence is Presence.PRESENT else None
            if value is not None:
                tracks[one.build.flavour].append((at, one, value))
        found: dict[tuple[Aspect, str], list[_Span]] = defaultdict(list)
        for flavour, track in tracks.items():
            for old, new in pairwise(track):
                told = list(rule.differ(old[1], new[1]))
                if told and not _told_better(tracks, flavour, old, new):
                    for change in told:
                        found[change.aspect, change.what].append((old[0], new[0], change))
        for spans in found.values():
            for low, high, change in _merged(spans):
                yield Step(change, sightings[low].build, sightings[high].build)


def _told_better(tracks: Mapping[str, Sequence[_Row]], flavour: str, old: _Row, new: _Row) -> bool:
    """Whether another flavour goes from the same state to the same state, with builds in between."""
    for other, track in tracks.items():
        if other == flavour:
            continue
        begins = [n for n, row in enumerate(track) if _alike(row, old)]
        ends = [n for n, row in enumerate(track) if _alike(row, new)]
        if begins and ends and any(_between(row, old, new) for row in track[begins[-1] + 1 : ends[0]]):
            return True
    return False


def _alike(row: _Row, other: _Row) -> bool:
    return row[1].build.series == other[1].build.series and row[2] == other[2]


def _between(row: _Row, old: _Row, new: _Row) -> bool:
    return old[1].build.series < row[1].build.series < new[1].build.series


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for low, high, change in sorted(spans, key=lambda span: span[:2]):
        if merged and low < merged[-1][1]:
            before, after, known = merged[-1]
            narrower = change if high - low < after - before else known
            merged[-1] = (max(low, before), min(high, after), narrower)
        else:
            merged.append((low, high, change))
    return merged
