# SPDX-License-Identifier: Apache-2.0
"""What was planned for bundles put beside what happened, variant by variant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.bundle.plan import Plan, PlanReason
from holdfast.bundle.proof import Proved
from holdfast.report.cases import State
from holdfast.terms import Verdict
from holdfast.truth.bundles_run import BundleSaid, bundle_key
from holdfast.truth.run import Trouble
from holdfast.vm.guest.carry_bundle import FALLBACK, PLAN, variant_trial

__all__ = ["BundleCase", "VariantCase", "bundle_cases"]


@dataclass(frozen=True, slots=True)
class VariantCase:
    """One variant on one kernel. ``loaded`` is what happened when it was carried out alone, None where nobody
    knows (``trouble`` says why); ``planned`` is what the plan did with it (RUNS, SKIPPED, REFUSED, NOT_TRIED,
    or "").

    ``errno`` (positive), ``words`` and ``log`` are those of a refusal; ``proof`` is what the bundle's proof
    says of it, ``broke`` why the proof came to nothing. ``programs`` has sizes by name.
    """

    name: str
    sha256: str
    predicted: Verdict
    reasons: tuple[PlanReason, ...] = ()
    planned: str = ""
    loaded: bool | None = None
    trouble: str = ""
    errno: int | None = None
    words: str = ""
    hint: str = ""
    log: str = ""
    proof: Proved | None = None
    broke: str = ""
    programs: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def is_false(self) -> bool:
        """Whether a decided verdict is not what happened."""
        if self.loaded is None or self.predicted is Verdict.UNKNOWN:
            return False
        return (self.predicted is Verdict.LOADS) is not self.loaded

    @property
    def works(self) -> bool | None:
        """What its proof says; None where there is none, or it was not carried out."""
        return self.proof.works if self.proof else None


@dataclass(frozen=True, slots=True)
class BundleCase:
    """One bundle on one kernel; ``variants`` best first.

    ``best`` is the variant that was predicted to run, ``ran`` the one that the plan ran in truth; where none
    did, ``error`` is the line that ended it, or ``fallback`` names the fallback that took over. ``trouble``
    says why the plan could not be carried out. ``user_space`` is what the proof says of the fallback,
    ``broke`` why that came to nothing.
    """

    bundle: str
    path: str
    kernel: str
    predicted: Verdict
    best: str | None
    variants: tuple[VariantCase, ...]
    ran: str | None = None
    fallback: str | None = None
    error: str = ""
    trouble: str = ""
    user_space: Proved | None = None
    broke: str = ""

    @property
    def fails(self) -> tuple[str, ...]:
        """What is wrong with it on this kernel, a line for each: nothing runs, what loads does not work."""
        lines = []
        if self.ran is None and not self.trouble:
            lines.append(self.error or f"no variant runs, the fallback {self.fallback!r} does the job")
        lines += [f"{name} does not work: {one.line}" for name, one in self._proofs() if one.works is False]
        return tuple(lines)

    @property
    def open(self) -> tuple[str, ...]:
        """What could not be tried or told, a line for each."""
        lines = [f"the plan could not be carried out: {self.trouble}"] if self.trouble else []
        for one in self.variants:
            if one.loaded is None and one.trouble != self.trouble:
                lines.append(f"{one.name} could not be tried: {one.trouble}")
            if one.broke:
                lines.append(f"{one.name}: {one.broke}")
        if self.broke:
            lines.append(f"the fallback: {self.broke}")
        lines += [f"{name} is {one.line}" for name, one in self._proofs() if one.works is None]
        return tuple(lines)

    @property
    def works(self) -> bool | None:
        """Whether what runs there does its job, by its proof; None where that is not known."""
        if self.ran is None:
            return self.user_space.works if self.fallback and self.user_space else None
        return next(one.works for one in self.variants if one.name == self.ran)

    @property
    def state(self) -> State:
        """LOADS where a variant runs and nothing that loads fails its proof; the worst of all else."""
        if self.fails:
            return State.FAILS
        return State.ERROR if self.open else State.LOADS

    def _proofs(self) -> Iterator[tuple[str, Proved]]:
        for one in self.variants:
            if one.proof is not None:
                yield one.name, one.proof
        if self.user_space is not None:
            yield "the fallback", self.user_space


def bundle_cases(
    planned: Mapping[tuple[int, str], Plan], said: Iterable[BundleSaid], troubles: Iterable[Trouble]
) -> list[BundleCase]:
    """A case for each plan (by the bundle's number and the kernel's id), in their order."""
    rows = {(one.number, one.kernel, one.trial): one.row for one in said}
    why = {(one.kernel, one.sha256, one.program): one.message for one in troubles}
    return [_case(number, plan, rows, why) for (number, _), plan in planned.items()]


def _case(
    number: int,
    plan: Plan,
    rows: Mapping[tuple[int, str, str], dict[str, Any]],
    why: Mapping[tuple[str, str | None, str | None], str],
) -> BundleCase:
    def of(trial: str) -> tuple[dict[str, Any], str]:
        row = rows.get((number, plan.kernel, trial))
        if row is not None:
            # where the ground of its proof broke, it was not carried out
            tried = row["steps"] or row["runs"] or row["fallback"]
            return row, "" if tried else row["trouble"] or ""
        told = why.get((plan.kernel, bundle_key(number), trial)) or why.get((plan.kernel, None, None))
        return {}, told or "nobody knows why"

    whole, trouble = of(PLAN)
    fates = {one["name"]: one["result"] for one in whole.get("steps", ())}
    variants = []
    for step in plan.steps:
        row, unknown = of(variant_trial(step.variant.name))
        (refusal,) = row.get("steps") or [{}]
        variants.append(
            VariantCase(
                step.variant.name,
                step.variant.sha256,
                step.verdict,
                step.reasons,
                planned=fates.get(step.variant.name, ""),
                loaded=None if unknown else row["runs"] is not None,
                trouble=unknown,
                errno=refusal.get("errno"),
                words=refusal.get("words") or row.get("error") or "",
                hint=refusal.get("hint") or "",
                log=refusal.get("log") or "",
                proof=_proof(row),
                broke="" if unknown else row.get("trouble") or "",
                programs=row.get("programs", {}),
                seconds=row.get("seconds"),
            )
        )
    manifest = plan.bundle.manifest
    fallback_row: dict[str, Any] = {}
    broke = ""
    if manifest.proof and manifest.fallback and manifest.fallback.python:
        fallback_row, broke = of(FALLBACK)
    return BundleCase(
        plan.bundle.name,
        str(plan.bundle.path),
        plan.kernel,
        plan.verdict,
        plan.best,
        tuple(variants),
        ran=whole.get("runs"),
        fallback=manifest.fallback.name if manifest.fallback and whole.get("fallback") else None,
        error=whole.get("error") or "",
        trouble=trouble,
        user_space=_proof(fallback_row),
        broke=broke or fallback_row.get("trouble") or fallback_row.get("error") or "",
    )


def _proof(row: Mapping[str, Any]) -> Proved | None:
    return Proved.from_dict(row["proof"]) if row.get("proof") else None
