# SPDX-License-Identifier: Apache-2.0
"""The order in which to try a bundle's variants on one kernel. Pure: it is told what the kernel offers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from holdfast.bundle.bundle import BuiltVariant, Bundle
from holdfast.bundle.manifest import Fallback
from holdfast.errors import HoldfastError
from holdfast.terms import Verdict

if TYPE_CHECKING:
    from holdfast.elf import ObjectSpec
    from holdfast.kernels import KernelFacts

__all__ = ["Action", "Check", "Plan", "PlanReason", "PlanStep", "Predicted", "PredictedReason", "plan"]


class PredictedReason(Protocol):
    """What a plan reads of a reason of :mod:`holdfast.predict`."""

    @property
    def code(self) -> str: ...
    @property
    def need(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def evidence(self) -> str: ...
    @property
    def hint(self) -> str | None: ...
    @property
    def source(self) -> str | None: ...
    @property
    def certain(self) -> bool: ...


class Predicted(Protocol):
    """What a plan reads of a verdict of :mod:`holdfast.predict` on one program."""

    @property
    def program(self) -> str: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def reasons(self) -> Sequence[PredictedReason]: ...
    @property
    def hazards(self) -> Sequence[object]: ...


_IT: Final = re.compile(r"\bit\b")

Check = Callable[["ObjectSpec", "KernelFacts"], Sequence[Predicted]]
"""Verdicts on all programs of an object on one kernel."""


class Action(StrEnum):
    """What a plan does with a variant."""

    TRY = "TRY"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class PlanReason:
    """Why a program of a variant fails (``certain``) or cannot be judged.

    ``source`` is ``file.c:12`` where the object has line info.
    """

    program: str
    code: str
    need: str
    message: str
    evidence: str
    hint: str | None
    source: str | None
    certain: bool = True

    @property
    def line(self) -> str:
        """Returns the reason as one line. A message that says "it" of its need gets the need before it."""
        named = not _IT.search(self.message) or self.need.rpartition(" ")[2] in self.message
        told = self.message if named else f"{self.need}: {self.message}"
        return f"{told} ({self.source})" if self.source else told


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One variant: FAILS is skipped, LOADS and UNKNOWN are tried. ``reasons`` stand in the kernel's order."""

    variant: BuiltVariant
    verdict: Verdict
    reasons: tuple[PlanReason, ...]
    hazards: tuple[object, ...] = ()

    @property
    def action(self) -> Action:
        return Action.SKIP if self.verdict is Verdict.FAILS else Action.TRY


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a bundle on one kernel: ``steps`` best first, then ``fallback``, if there is one.

    ``kernel`` is the id of the facts it was made from.
    """

    bundle: Bundle
    kernel: str
    steps: tuple[PlanStep, ...]

    @property
    def fallback(self) -> Fallback | None:
        return self.bundle.fallback

    @property
    def verdict(self) -> Verdict:
        """Returns LOADS when a variant loads, UNKNOWN when none does for sure, FAILS when none can.

        With a fallback the application works in any case; that is no part of the verdict.
        """
        verdicts = {step.verdict for step in self.steps}
        return next(one for one in (Verdict.LOADS, Verdict.UNKNOWN, Verdict.FAILS) if one in verdicts)

    @property
    def best(self) -> str | None:
        """Returns the best variant that LOADS, or else the best that is UNKNOWN, None when all fail."""
        for wanted in (Verdict.LOADS, Verdict.UNKNOWN):
            for step in self.steps:
                if step.verdict is wanted:
                    return step.variant.name
        return None


def plan(bundle: Bundle, facts: KernelFacts | None, check: Check | None = None) -> Plan:
    """Returns the plan for a bundle on one kernel; ``check`` None is :func:`holdfast.predict.check_object`.

    With ``facts`` None, for a kernel that cannot be asked, every variant is UNKNOWN. Only those programs
    count that would be loaded; a variant's verdict is the worst of theirs.
    """
    if facts is None:
        return Plan(bundle, "unknown", tuple(PlanStep(one, Verdict.UNKNOWN, ()) for one in bundle.variants))
    if check is None:
        from holdfast.predict import check_object

        check = check_object
    steps = tuple(_step(one, check(one.spec, facts)) for one in bundle.variants)
    return Plan(bundle, facts.id, steps)


def _step(variant: BuiltVariant, verdicts: Iterable[Predicted]) -> PlanStep:
    by_program = {one.program: one for one in verdicts}
    missing = [name for name in variant.programs if name not in by_program]
    if missing:
        # An error in the prediction is never a verdict.
        raise HoldfastError(f"{variant.path}: no verdict on program {missing[0]!r}", hint="this is a bug")
    chosen = [by_program[name] for name in variant.programs]
    order = (Verdict.FAILS, Verdict.UNKNOWN, Verdict.LOADS)
    # Maps alone: nothing was judged.
    verdict = min((one.verdict for one in chosen), key=order.index, default=Verdict.UNKNOWN)
    reasons = tuple(_reason(one.program, reason) for one in chosen for reason in one.reasons)
    return PlanStep(variant, verdict, reasons, tuple(hazard for one in chosen for hazard in one.hazards))


def _reason(program: str, reason: PredictedReason) -> PlanReason:
    return PlanReason(
        program=program,
        code=str(reason.code),
        need=reason.need,
        message=reason.message,
        evidence=str(reason.evidence),
        hint=reason.hint,
        source=reason.source,
        certain=reason.certain,
    )
