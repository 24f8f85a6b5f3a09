# SPDX-License-Identifier: Apache-2.0
"""One kernel build as history looks at it: what state each kfunc is in there, asked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from holdfast.btf.types import Kind
from holdfast.history.flags import FlagEra
from holdfast.history.prototypes import Function, Prototypes, is_implicit
from holdfast.history.versions import Series, flavour, series_name, series_of, version_of
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.kfuncs import FMOD_RET_TESTS, Registration
from holdfast.terms import Evidence, ProgramType

__all__ = ["Build", "Presence", "State"]


class Presence(StrEnum):
    """Whether a build has a kfunc."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class State:
    """One kfunc in one build. All but ``presence``, ``note`` and ``evidence`` is for kfuncs that are present.

    ``note`` says why it is not known whether it is there. ``flags`` are without ``KF_``; they,
    ``program_types`` and ``function`` are None where unknown. ``module`` is None for vmlinux.
    ``exposed``: BTF shows parameters that the verifier fills in although the kfunc has KF_IMPLICIT_ARGS,
    so that libbpf refuses the right prototype. It is so where pahole left out the tag ``bpf_kfunc``, which
    resolve_btfids goes by: 22 of 64 such kfuncs in Debian's 7.2.12 for trixie, none in its 7.2.13 for sid.
    """

    presence: Presence
    note: str = ""
    function: Function | None = None
    flags: frozenset[str] | None = None
    by_type: Mapping[ProgramType, frozenset[str]] | None = None
    program_types: frozenset[ProgramType] | None = None
    narrowed: bool = False
    module: str | None = None
    evidence: tuple[Evidence, ...] = ()
    exposed: bool = False


_ABSENT = State(Presence.ABSENT)


class Build:
    """A kernel with its kfuncs. Reads nothing until it is asked, and everything once."""

    def __init__(self, facts: KernelFacts) -> None:
        self.facts = facts
        self.version = version_of(facts)
        self.series: Series = series_of(facts)
        self.flavour = flavour(facts)
        self._names: frozenset[str] | None = None
        self._prototypes = Prototypes()
        self._states: dict[str, State] = {}
        self._era: FlagEra | None = None

    @property
    def id(self) -> str:
        return self.facts.id

    @property
    def series_name(self) -> str:
        return series_name(self.series)

    @property
    def names(self) -> frozenset[str]:
        """The kfuncs that are known to be there."""
        if self._names is None:
            rows = self.facts.registrations
            # what is tagged and in no set, nobody may call; looking for tags costs more than all the rest
            self._names = frozenset(
                self.facts.kfunc_names() if rows is None else rows.keys() - FMOD_RET_TESTS
            )
        return self._names

    @property
    def era(self) -> FlagEra:
        """Which flags this kernel uses at all; none where registrations were not read."""
        if self._era is None:
            known: set[str] = set()
            for row in (self.facts.registrations or {}).values():
                known |= row.flags or frozenset()
            self._era = FlagEra(frozenset(known))
        return self._era

    @property
    def sees_modules(self) -> bool:
        """Whether a kfunc of a module that is not at hand can be ruled out."""
        return self.facts.source != "live" and self.facts.module_names is not None

    def state(self, name: str) -> State:
        """The state of a kfunc. Absence in a build whose modules did not come along is for
        :class:`~holdfast.history.life.Lives` to doubt: it knows in which module others have it.
        """
        found = self._states.get(name)
        if found is None:
            found = self._states[name] = self._look(name)
        return found

    def _look(self, name: str) -> State:
        facts = self.facts
        row = (facts.registrations or {}).get(name)
        if name not in self.names:
            if facts.registrations is not None:
                return _ABSENT  # a function of that name may exist: foo_impl beside foo with KF_IMPLICIT_ARGS
            answer = facts.is_kfunc(name)
            if answer.value is None:
                return State(Presence.UNKNOWN, answer.note)
            if answer.value is False:
                return _ABSENT
        if row is not None and row.flags is not None and row.program_types is not None:
            return self._of_registration(name, row)
        found = facts.kfunc(name)
        if found is None:
            return _registered(row, None)
        function = self._prototypes.read(name, found.btf, found.type_id)
        if row is not None:
            return replace(
                _registered(row, function), program_types=found.program_types, evidence=found.evidence
            )
        # only a probe that decided all types tells which may not call it
        types = None if found.undecided else found.program_types
        return State(
            Presence.PRESENT,
            function=function,
            program_types=types,
            narrowed=found.narrowed,
            module=found.module,
            evidence=found.evidence,
        )

    def _of_registration(self, name: str, row: Registration) -> State:
        """The state of a kfunc whose registration says it all: one look into the BTF that has it."""
        btf = self.facts.vmlinux if row.module is None else self.facts.modules.get(row.module)
        ids = btf.find_all(name, Kind.FUNC) if btf is not None else ()
        if btf is None or not ids:
            return _registered(row, None)
        function = self._prototypes.read(name, btf, ids[0])
        return _registered(row, function, (Evidence.BTF, *row.evidence))


def _registered(
    row: Registration | None, function: Function | None, evidence: tuple[Evidence, ...] | None = None
) -> State:
    """What a registration tells; ``function`` None where it is in no BTF at hand, that of its module left out
    for example.
    """
    if row is None:
        return State(Presence.PRESENT, function=function)
    return State(
        Presence.PRESENT,
        function=function,
        flags=row.flags,
        by_type=row.by_type,
        program_types=row.program_types,
        narrowed=row.narrowed,
        module=row.module,
        evidence=row.evidence if evidence is None else evidence,
        exposed=function is not None and _exposed(function, row.flags),
    )


def _exposed(function: Function, flags: frozenset[str] | None) -> bool:
    if not flags or "IMPLICIT_ARGS" not in flags or function.name.endswith("_impl"):
        return False
    return any(is_implicit(*param) for param in function.params)
