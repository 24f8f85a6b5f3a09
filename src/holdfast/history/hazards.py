# SPDX-License-Identifier: Apache-2.0
"""What a program leans on that its kernel's history does not carry.

Verdicts say whether a program loads; these say what may go wrong where it does, or soon. They rest on a set
of kernels (:class:`~holdfast.history.life.Lives`), on contracts, and on a small table of known bugs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from holdfast.btf import Btf
from holdfast.history.builds import Build, Presence, State
from holdfast.history.change import Aspect
from holdfast.history.contract import Contract, PromiseKind, Strength
from holdfast.history.grades import Grade, grade, grade_on
from holdfast.history.known import wrong_on
from holdfast.history.life import KfuncLife, Lives, Step
from holdfast.history.versions import Series, series_name, series_of
from holdfast.kernels.facts import KernelFacts
from holdfast.needs.model import KfuncNeed, ProgramNeeds
from holdfast.terms import Evidence, ProgramType

__all__ = ["Finding", "FindingCode", "Hazards", "hazards"]


class FindingCode(StrEnum):
    """Kinds of findings; docs/history.md explains each."""

    GRADE = "GRADE"
    CONTRACT = "CONTRACT"
    TIGHTENED = "TIGHTENED"
    KNOWN_WRONG = "KNOWN_WRONG"
    BTF_BROKEN = "BTF_BROKEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, in the form of :class:`~holdfast.predict.model.Hazard`."""

    code: FindingCode
    need: str
    message: str
    evidence: Evidence
    source: str | None = None
    hint: str | None = None


_EVIDENCE = {
    Aspect.FLAGS: Evidence.BTF_IDS,
    Aspect.PROGRAM_TYPES: Evidence.INIT_CODE,
    Aspect.PRESENCE: Evidence.BTF_IDS,
}


class Hazards:
    """Findings for many programs and kernels; what is the same for a kfunc on a kernel is worked out once."""

    def __init__(self, lives: Lives, contracts: Sequence[Contract] = ()) -> None:
        self.lives = lives
        self.contracts = tuple(contracts)
        self._found: dict[tuple[str, str, bool, ProgramType], tuple[Finding, ...]] = {}
        self._builds = {build.id: build for build in lives.builds}

    def of(self, needs: ProgramNeeds, facts: KernelFacts, local: Btf | None = None) -> list[Finding]:
        """Findings for a program on a kernel, by the order of its needs. ``local`` is its object's BTF.

        The kernel need not be one of those that the lives were made of. kfuncs that it lacks are left to the
        verdict.
        """
        found: list[Finding] = []
        for need in needs.needs:
            if isinstance(need, KfuncNeed):
                for one in self._of_kfunc(need.name, facts, need.guarded, needs.program.type):
                    found.append(_at(one, need.source))
                for row, text, evidence in wrong_on(need.name, facts, series_of(facts), local):
                    message = f"{text} ({row.source})"
                    need_name = f"kfunc {need.name}"
                    found.append(
                        Finding(FindingCode.KNOWN_WRONG, need_name, message, evidence, need.source, row.hint)
                    )
        return found

    def _of_kfunc(
        self, name: str, facts: KernelFacts, guarded: bool, kind: ProgramType
    ) -> tuple[Finding, ...]:
        key = (facts.id, name, guarded, kind)
        known = self._found.get(key)
        if known is None:
            build = self._builds.setdefault(facts.id, Build(facts))
            state = build.state(name)
            life = self.lives.life(name)
            known = (
                ()
                if state.presence is Presence.ABSENT
                else tuple(self._all(life, build, state, guarded, kind))
            )
            self._found[key] = known
        return known

    def _all(
        self, life: KfuncLife, build: Build, state: State, guarded: bool, kind: ProgramType
    ) -> Iterator[Finding]:
        if state.exposed:
            yield _finding(
                FindingCode.BTF_BROKEN,
                life.name,
                f"the BTF of {build.id} shows parameters that the verifier fills in: libbpf refuses the"
                " prototype that the kernel means",
                Evidence.BTF,
                "its pahole left out the tag bpf_kfunc: ask the distributor to build with a newer one",
            )
        carried = yield from self._contracts(life, build.series)
        if not carried:
            yield from _graded(life, build.facts, guarded)
        ahead = [step for step in life.steps if step.before.version >= build.version]
        yield from _tightened(life.name, ahead, kind)

    def _contracts(self, life: KfuncLife, series: Series) -> Generator[Finding, None, bool]:
        """Findings from contracts; returns whether a binding one holds here."""
        carried = False
        for contract in self.contracts:
            promise = contract.promise(PromiseKind.KFUNC, life.name)
            if promise is None:
                continue
            source = f"contract {contract.name}, {contract.path} line {promise.line}"
            hint = f"move to {promise.replaced_by}" if promise.replaced_by else None
            if not promise.covers(series):
                message = f"it is promised {promise.span}, not for {series_name(series)} ({source})"
                yield _finding(FindingCode.CONTRACT, life.name, message, Evidence.RULE, hint)
            elif promise.until is not None or promise.replaced_by:
                message = f"it is promised {promise.span} ({source})"
                yield _finding(FindingCode.CONTRACT, life.name, message, Evidence.RULE, hint)
            carried |= promise.covers(series) and contract.strength is Strength.BINDING
        return carried


def hazards(
    needs: ProgramNeeds,
    facts: KernelFacts,
    lives: Lives,
    contracts: Sequence[Contract] = (),
    local: Btf | None = None,
) -> list[Finding]:
    """Findings for one program on one kernel; for many of them make one :class:`Hazards`."""
    return Hazards(lives, contracts).of(needs, facts, local)


def _graded(life: KfuncLife, facts: KernelFacts, guarded: bool) -> Iterator[Finding]:
    found = grade_on(life, facts) if life.at(facts) else grade(life)
    word = found.grade
    if word is Grade.GONE:
        word = Grade.DEPRECATED  # this kernel has it, or nobody would ask
    if word is None or word is Grade.SETTLED or (guarded and word is not Grade.MOVING):
        return  # what may come or go is no hazard to a call that asks first; what may change is
    hint = "guard the call by bpf_ksym_exists() and keep another way"
    if word is Grade.MOVING:
        hint = "check the object on the newest kernels, and keep another way where one refuses it"
    message = f"its grade is {word}: {found.reason}"
    yield _finding(FindingCode.GRADE, life.name, message, Evidence.RULE, hint)


def _tightened(name: str, ahead: Sequence[Step], kind: ProgramType) -> Iterator[Finding]:
    """Newer kernels than this one that ask programs of this type for more. That the kfunc will be gone is
    told by the grade.
    """
    hard = [
        step
        for step in ahead
        if step.change.effect.is_hard
        and step.change.aspect not in (Aspect.PRESENCE, Aspect.MODULE)
        and (step.change.program_types is None or kind in step.change.program_types)
    ]
    if not hard:
        return
    text = "; ".join(f"{step.after.series_name} {step.change.what}" for step in hard)
    evidence = _EVIDENCE.get(hard[0].change.aspect, Evidence.BTF)
    hint = "newer kernels may refuse what this one loads: check the object for them"
    yield _finding(FindingCode.TIGHTENED, name, f"newer kernels ask more: {text}", evidence, hint)


def _finding(code: FindingCode, name: str, message: str, evidence: Evidence, hint: str | None) -> Finding:
    return Finding(code, f"kfunc {name}", message, evidence, None, hint)


def _at(finding: Finding, source: str | None) -> Finding:
    return Finding(finding.code, finding.need, finding.message, finding.evidence, source, finding.hint)
