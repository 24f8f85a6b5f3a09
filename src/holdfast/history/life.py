# SPDX-License-Identifier: Apache-2.0
"""A kfunc's life over an ordered set of kernels: where it is, and what changed when.

Changes are looked for between builds of one flavour, oldest first, and those that several flavours show are
told once. Presence is looked at series by series: a series has a kfunc when one of its builds has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from holdfast.history.builds import Build, Presence, State
from holdfast.history.change import Aspect, Change, Effect
from holdfast.history.options import option_of
from holdfast.history.prototypes import is_implicit
from holdfast.history.renames import RENAMES, Rename, affix_free, renames_of
from holdfast.history.steps import Sighting, Step, changes
from holdfast.history.versions import Series, by_version, series_name
from holdfast.kernels.facts import KernelFacts

__all__ = ["KfuncLife", "Lives", "Sighting", "Step"]


@dataclass(frozen=True, slots=True)
class KfuncLife:
    """All that a set of kernels tells about one kfunc; ``sightings`` one for each build, oldest first.

    ``option`` and ``option_source`` name the configuration option that it hangs on, where the configurations
    at hand agree, else "".
    """

    name: str
    sightings: tuple[Sighting, ...]
    steps: tuple[Step, ...]
    option: str = ""
    option_source: str = ""
    renamed_from: tuple[Rename, ...] = ()
    renamed_to: tuple[Rename, ...] = ()

    @property
    def present(self) -> list[Sighting]:
        """Sightings in builds that have it, oldest first."""
        return [one for one in self.sightings if one.presence is Presence.PRESENT]

    @property
    def first(self) -> Sighting | None:
        """In the oldest build that has it; None when none has."""
        return next(iter(self.present), None)

    @property
    def last(self) -> Sighting | None:
        """In the newest build that has it; None when none has."""
        return next(reversed(self.present), None)

    @property
    def series(self) -> list[Series]:
        """Series with a build that has it, oldest first."""
        return list(dict.fromkeys(one.build.series for one in self.present))

    @property
    def modules(self) -> list[str]:
        """Modules that have it in some build, sorted."""
        return sorted({one.state.module for one in self.present if one.state.module})

    def by_series(self) -> dict[Series, Presence]:
        """Whether each series has it, oldest first: present in any build is present; absent in all that could
        have it is absent. Could have it: its configuration does not hide it, and some build of its flavour
        has it.
        """
        flavours = {one.build.flavour for one in self.present}
        found: dict[Series, Presence] = {}
        for one in self.sightings:
            series = one.build.series
            before = found.setdefault(series, Presence.UNKNOWN)
            if one.presence is Presence.PRESENT:
                found[series] = Presence.PRESENT
            elif one.hidden_by or one.build.flavour not in flavours or before is Presence.PRESENT:
                continue
            else:
                found[series] = one.presence
        doubtful = {
            one.build.series
            for one in self.sightings
            if one.presence is Presence.UNKNOWN and one.build.flavour in flavours and not one.hidden_by
        }
        return {
            series: Presence.UNKNOWN if series in doubtful and state is Presence.ABSENT else state
            for series, state in found.items()
        }

    def at(self, kernel: KernelFacts) -> Sighting | None:
        """The sighting in the build of that id."""
        return next((one for one in self.sightings if one.build.id == kernel.id), None)

    def gone_in(self) -> Series | None:
        """The first series without it after the last that has it; None where none of the newer ones tells."""
        last = self.last
        if last is None:
            return None
        states = self.by_series().items()
        return next(
            (one for one, state in states if one > last.build.series and state is Presence.ABSENT), None
        )


class Lives:
    """The lives of all kfuncs of some kernels, each worked out when it is asked for."""

    def __init__(self, kernels: Iterable[KernelFacts]) -> None:
        self.builds: tuple[Build, ...] = tuple(Build(facts) for facts in by_version(kernels))
        self.series: tuple[Series, ...] = tuple(dict.fromkeys(build.series for build in self.builds))
        self._lives: dict[str, KfuncLife] = {}
        self._names: list[str] | None = None
        self._families: dict[str, list[str]] | None = None

    def names(self) -> list[str]:
        """Every kfunc that one of the kernels is known to have, sorted."""
        if self._names is None:
            self._names = sorted(set[str]().union(*(build.names for build in self.builds)))
        return self._names

    def __contains__(self, name: str) -> bool:
        return any(name in build.names for build in self.builds)

    def __iter__(self) -> Iterator[KfuncLife]:
        return (self.life(name) for name in self.names())

    def match(self, pattern: str) -> list[str]:
        """Names that a glob matches, or the one name, sorted; empty when there is none."""
        return [name for name in self.names() if fnmatchcase(name, pattern)]

    def nearest(self, name: str, count: int = 3) -> list[str]:
        """Names that were likely meant, the likeliest first."""
        from difflib import get_close_matches

        known = {one.old: one.old for one in RENAMES} | {one: one for one in self.names()}
        return get_close_matches(name, known, count, 0.75)

    def life(self, name: str) -> KfuncLife:
        """The life of one kfunc; without sightings that are present for a name that no kernel has."""
        found = self._lives.get(name)
        if found is None:
            found = self._lives[name] = self._work_out(name)
        return found

    def _work_out(self, name: str) -> KfuncLife:
        states = [(build, build.state(name)) for build in self.builds]
        modules = {state.module for _, state in states if state.module}
        states = [(build, _doubted(build, state, modules)) for build, state in states]
        option, source = _confirmed(states, name)
        sightings = tuple(Sighting(build, state, _hidden(build, state, option)) for build, state in states)
        life = KfuncLife(name, sightings, (), option, source)
        steps = (*changes(sightings), *_comings(life, self.builds))
        known_from, known_to = renames_of(name)
        life = replace(
            life,
            steps=tuple(sorted(steps, key=lambda step: (step.after.version, step.before.version))),
            renamed_from=tuple(known_from),
            renamed_to=tuple(known_to),
        )
        guess = self._successor(life) if not known_to else None
        return replace(life, renamed_to=(guess,)) if guess else life

    def _successor(self, life: KfuncLife) -> Rename | None:
        """A kfunc of like name and the same parameters that the series has in which this one is gone."""
        gone = life.gone_in()
        last = life.last
        if gone is None or last is None or last.state.function is None:
            return None
        if self._families is None:
            self._families = {}
            for name in self.names():
                self._families.setdefault(affix_free(name), []).append(name)
        mine = _visible(last.state)
        for name in self._families.get(affix_free(life.name), []):
            states = [build.state(name) for build in self.builds if build.series == gone]
            if name != life.name and any(s.function and _visible(s) == mine for s in states):
                source = "a like name with the same parameters"
                return Rename(life.name, name, series_name(gone), source, guess=True)
        return None


def _visible(state: State) -> list[str]:
    params = state.function.params if state.function else ()
    return [text for name, text in params if not is_implicit(name, text)]


def _doubted(build: Build, state: State, modules: set[str]) -> State:
    """Absent from a build whose modules did not come along is not known, if modules elsewhere have it."""
    if state.presence is not Presence.ABSENT or build.sees_modules or not modules:
        return state
    if modules & set(build.facts.modules):
        return state
    return State(Presence.UNKNOWN, f"module {min(modules)} of this build is not at hand")


def _confirmed(states: Sequence[tuple[Build, State]], name: str) -> tuple[str, str]:
    """The option that the table names, unless a build has the kfunc without it."""
    option, source = option_of(name) or ("", "")
    for build, state in states:
        config = build.facts.config
        if option and state.presence is Presence.PRESENT and config is not None and option not in config:
            return "", ""
    return option, source


def _hidden(build: Build, state: State, option: str) -> str | None:
    config = build.facts.config
    if not option or state.presence is Presence.PRESENT or config is None or option in config:
        return None
    return option


def _comings(life: KfuncLife, builds: Sequence[Build]) -> Iterator[Step]:
    """Series in which it is gone, or there again. The first appearance is no change."""
    state: Presence | None = None
    last: Series | None = None
    first = life.first
    for one, now in life.by_series().items():
        if now is Presence.UNKNOWN:
            continue
        seen = first is not None and last is not None and first.build.series <= last
        if last is not None and now is not state and seen:
            before = [build for build in builds if build.series == last][-1]
            after = next(build for build in builds if build.series == one)
            if now is Presence.ABSENT:
                change = Change(Aspect.PRESENCE, Effect.BREAKS, "gone", "present", "absent")
            else:
                change = Change(Aspect.PRESENCE, Effect.WIDENS, "there again", "absent", "present")
            yield Step(change, before, after)
        state, last = now, one
