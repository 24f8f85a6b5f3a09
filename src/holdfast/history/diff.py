# SPDX-License-Identifier: Apache-2.0
"""Two kernels compared, as far as BPF programs can tell: what went, what came, what changed and for whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from holdfast.elf.spec import ObjectSpec
from holdfast.history.builds import Presence
from holdfast.history.change import Effect, worst
from holdfast.history.compare import compare_states, types_text
from holdfast.history.flags import flags_text
from holdfast.history.life import Lives, Sighting
from holdfast.history.prototypes import Function, Prototypes, compare
from holdfast.history.surface import RESTRICTING, Section, Table, functions, options, table
from holdfast.kernels.facts import KernelFacts
from holdfast.predict import Predictor
from holdfast.predict.model import ProgramVerdict, Reason
from holdfast.terms import Verdict

__all__ = ["Difference", "How", "KernelDiff", "Turn", "diff", "turns"]


class How(StrEnum):
    """What happened to a name."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One name that is not the same in both kernels; ``before`` and ``after`` are "" where it is not there.

    ``what`` is a clause, "" where ``how`` says it all.
    """

    section: Section
    name: str
    how: How
    effect: Effect
    what: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class KernelDiff:
    """What sets kernel ``after`` apart from kernel ``before``; ``untold`` is what could not be compared."""

    before: str
    after: str
    differences: tuple[Difference, ...]
    untold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A program whose verdict differs, with the first reason of the kernel where it is worse."""

    object_path: str
    program: str
    before: Verdict
    after: Verdict
    reason: Reason | None


def diff(
    before: KernelFacts, after: KernelFacts, only: Mapping[Section, frozenset[str]] | None = None
) -> KernelDiff:
    """Compares two kernels; ``only`` restricts it to these names of these sections
    (:func:`holdfast.history.touched.touched`).
    """
    found: list[Difference] = []
    untold: list[str] = []
    for section in Section:
        names = None if only is None else only.get(section, frozenset())
        if names is not None and not names:
            continue
        if section is Section.KFUNC:
            found += _kfuncs(before, after, names, untold)
            continue
        if section is Section.FUNCTION and names is None:
            continue  # tens of thousands, and nobody depends on most: only those that an object attaches to
        mine, theirs = (_table(facts, section, names) for facts in (before, after))
        if mine is None or theirs is None:
            silent = before if mine is None else after
            untold.append(f"{section}: {silent.id} does not tell")
            continue
        for one in _tables(section, mine, theirs, names):
            prefix = _HOOKS.get(section)
            if prefix is not None and one.how is How.CHANGED:
                one = _hook(one, prefix, before, after)
            found.append(one)
    return KernelDiff(before.id, after.id, tuple(found), tuple(untold))


def _table(facts: KernelFacts, section: Section, names: frozenset[str] | None) -> Table | None:
    if section is Section.FUNCTION:
        return functions(facts, sorted(names or ()))
    if section is Section.CONFIG and names is not None:
        return options(facts, sorted(names))
    return table(facts, section)


def _tables(
    section: Section, before: Table, after: Table, only: frozenset[str] | None
) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        if only is not None and name not in only:
            continue
        old, new = before.get(name, ""), after.get(name, "")
        if old is None or new is None or old == new:
            continue
        parent = name.partition(".")[0]
        if parent != name and (parent in before) != (parent in after):
            continue  # a struct_ops type that came or went says so once, not for each member
        if not old:
            yield Difference(section, name, How.ADDED, Effect.WIDENS, "", "", new)
        elif not new:
            yield Difference(section, name, How.REMOVED, Effect.BREAKS, "", old, "")
        else:
            effect, what = _effect(section, name, old, new)
            yield Difference(section, name, How.CHANGED, effect, what, old, new)


def _effect(section: Section, name: str, old: str, new: str) -> tuple[Effect, str]:
    if section is Section.CONFIG:
        return _option(name, old, new)
    if section is Section.CAPABILITY:
        more = sorted(set(new.split()) - set(old.split()) - {"none"})
        if more:
            return Effect.TIGHTENS, f"loading needs {' '.join(more)} too"
        return Effect.WIDENS, "loading needs less"
    if section is Section.TRACEPOINT:
        if new.startswith(f"{old}, "):
            return Effect.SILENT, "more arguments at the end"
        return Effect.TIGHTENS, "other arguments: the verifier compares their types"
    if section is Section.ITERATOR:
        gone = sorted(set(old.split(", ")) - set(new.split(", ")))
        if gone:
            return Effect.BREAKS, f"its context has no {' '.join(gone)} any more"
        return Effect.WIDENS, "its context has more members"
    if section is Section.STRUCT_OPS:
        return Effect.TIGHTENS, "another type: libbpf and the verifier compare it"
    return Effect.SILENT, "another number"


_HOOKS: Final = {Section.LSM_HOOK: "bpf_lsm_", Section.FUNCTION: ""}


def _hook(one: Difference, prefix: str, before: KernelFacts, after: KernelFacts) -> Difference:
    """A function that programs attach to: they read its arguments from their context, by position."""
    places = [facts.function(prefix + one.name) for facts in (before, after)]
    old, new = (Prototypes().read(one.name, place.btf, place.type_id) for place in places if place)
    had, has = len(old.params), len(new.params)
    if has > had and new.params[:had] == old.params:
        return replace(one, effect=Effect.SILENT, what="more arguments at the end")
    if had != has:
        return replace(
            one, effect=Effect.TIGHTENS, what=f"{has} arguments, not {had}: others stand in their place"
        )
    changes = compare(old, new)
    # To a kfunc's caller an argument that may be NULL is a freedom, to the program that is given it a duty.
    hard = [change for change in changes if change.effect.is_hard or change.effect is Effect.WIDENS]
    effect = Effect.TIGHTENS if hard else worst([change.effect for change in changes])
    names = [new_name or str(at) for at, ((_, a), (new_name, b)) in _pairs(old, new) if a != b]
    what = f"other types: {', '.join(names)}" if names else changes[0].what if changes else ""
    return replace(one, effect=effect, what=what)


def _pairs(old: Function, new: Function) -> Iterator[tuple[int, tuple[tuple[str, str], tuple[str, str]]]]:
    return enumerate(zip(old.params, new.params, strict=True), 1)


def _option(name: str, old: str, new: str) -> tuple[Effect, str]:
    off = ("not set", "n")
    if (old in off) == (new in off):
        # built in or a module, or a value
        return (Effect.NEUTRAL if {old, new} <= {"y", "m"} else Effect.SILENT), f"{old} before, {new} now"
    gives = (new not in off) != (name in RESTRICTING)
    return (Effect.WIDENS if gives else Effect.TIGHTENS), f"{old} before, {new} now"


def _kfuncs(
    before: KernelFacts, after: KernelFacts, only: frozenset[str] | None, untold: list[str]
) -> Iterator[Difference]:
    lives = Lives([before, after])
    if not any(build.names for build in lives.builds):
        untold.append(f"{Section.KFUNC}: neither kernel tells its kfuncs")
        return
    doubted = 0
    for name in sorted(only) if only is not None else lives.names():
        sightings = {id(one.build.facts): one for one in lives.life(name).sightings}
        old, new = sightings[id(before)], sightings[id(after)]
        if Presence.UNKNOWN in (old.presence, new.presence):
            doubted += 1
            continue
        yield from _kfunc(name, old, new)
    if doubted:
        untold.append(f"{Section.KFUNC}: {doubted} of which one kernel does not tell whether it has them")


def _kfunc(name: str, old: Sighting, new: Sighting) -> Iterator[Difference]:
    here, there = old.presence is Presence.PRESENT, new.presence is Presence.PRESENT
    section = Section.KFUNC
    if here and there:
        for change in compare_states(old.build, old.state, new.build, new.state):
            yield Difference(
                section, name, How.CHANGED, change.effect, change.what, change.before, change.after
            )
    elif here:
        why = f"its configuration lacks {new.hidden_by}" if new.hidden_by else ""
        yield Difference(section, name, How.REMOVED, Effect.BREAKS, why, _summary(old))
    elif there:
        why = f"the other's configuration lacks {old.hidden_by}" if old.hidden_by else ""
        yield Difference(section, name, How.ADDED, Effect.WIDENS, why, "", _summary(new))


def _summary(one: Sighting) -> str:
    state = one.state
    parts = [state.function.text if state.function else "prototype unknown"]
    parts.append(f"flags {flags_text(state.flags)}")
    parts.append(f"from {types_text(state.program_types)}")
    if state.module:
        parts.append(f"module {state.module}")
    return "; ".join(parts)


def turns(
    before: KernelFacts, after: KernelFacts, specs: Iterable[ObjectSpec], libbpf: tuple[int, int]
) -> Iterator[Turn]:
    """Programs whose verdict is not the same on both kernels, in the objects' order."""
    old, new = Predictor(before, libbpf), Predictor(after, libbpf)
    for spec in specs:
        yield from _turned(old.check(spec), new.check(spec))


def _turned(old: Sequence[ProgramVerdict], new: Sequence[ProgramVerdict]) -> Iterator[Turn]:
    for was, now in zip(old, new, strict=True):
        if was.verdict is now.verdict:
            continue
        worse = now if now.verdict is not Verdict.LOADS else was
        reason = next(iter(worse.reasons), None)
        yield Turn(now.object_path, now.program, was.verdict, now.verdict, reason)
