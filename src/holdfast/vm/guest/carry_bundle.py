# SPDX-License-Identifier: Apache-2.0
"""A bundle in the running kernel: its plan carried out, then each variant alone, and whether it works."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.bundle.bundle import Bundle
from holdfast.bundle.manifest import Fallback
from holdfast.bundle.plan import Plan, PlanReason, PlanStep
from holdfast.errors import HoldfastError
from holdfast.load.outcome import NoVariantError, Outcome, OutcomeStep
from holdfast.load.prove import ground, prove
from holdfast.load.runner import carry_out
from holdfast.load.session import Session
from holdfast.terms import Verdict

__all__ = ["FALLBACK", "PLAN", "carry_bundle", "variant_trial"]

PLAN = "plan"
FALLBACK = "fallback"
_VARIANT = "variant "
_LOG = 4000  # characters kept of a log
_NOWHERE = Fallback("none", "", None)
_Proof = Callable[[Outcome], Any]


def variant_trial(name: str) -> str:
    """Return how the trial of a variant is called."""
    return _VARIANT + name


def carry_bundle(
    files: Mapping[str, bytes],
    kernel: str,
    verdicts: Sequence[Mapping[str, Any]],
    trials: Sequence[str],
    prepared: Any = None,
) -> Generator[dict[str, Any], None, None]:
    """Try a bundle, and yield how each trial ended, in their order; nothing stays in the kernel.

    ``files`` are the manifest and the objects by their path in the bundle's folder; ``verdicts`` what was
    predicted, for each variant in the manifest's order: ``verdict`` and ``reasons`` with the members of
    :class:`~holdfast.bundle.plan.PlanReason`; ``kernel`` the id of the facts behind that.

    A trial is :data:`PLAN` (what :func:`holdfast.load.runner.carry_out` makes of the whole plan),
    :func:`variant_trial` of a name (that one alone, whatever was predicted) or :data:`FALLBACK`. A row has
    ``trial``; ``runs``: the name of the variant that runs, or None; ``fallback``: whether the fallback does;
    ``steps``: of each variant that it was about ``name``, ``result``
    (:class:`~holdfast.load.outcome.StepResult`), ``error`` (a class), ``errno``, ``words``, ``hint`` and
    ``log``; ``error``: the line of what ended it, or None; ``programs``: sizes by name. All but :data:`PLAN`
    have ``proof``: what the bundle's proof says, None where it has none, nothing runs, or ``trouble`` says
    that it broke. Where its ground broke, ``trouble`` says that, too, and there are no steps. ``seconds``.
    """
    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        folder = Path(name)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        bundle = Bundle.open(folder)
        steps = [
            PlanStep(
                variant,
                Verdict(row["verdict"]),
                tuple(PlanReason(**reason) for reason in row["reasons"]),
            )
            for variant, row in zip(bundle.variants, verdicts, strict=True)
        ]
        for trial in trials:
            start = time.monotonic()
            row = _try(trial, Plan(bundle, kernel, tuple(steps)), prepared)
            yield {"trial": trial, **row, "seconds": round(time.monotonic() - start, 3)}


def _try(trial: str, plan: Plan, prepared: Any) -> dict[str, Any]:
    if trial == PLAN:
        return _carried_out(plan, None)
    if trial == FALLBACK:
        return _carried_out(replace(plan, steps=()), lambda one: prove(one, prepared))
    variant = plan.bundle.variant(trial.removeprefix(_VARIANT))
    # with some fallback, so that a refusal is an outcome with its step, and no error
    manifest = replace(plan.bundle.manifest, fallback=_NOWHERE)
    alone = Plan(
        replace(plan.bundle, manifest=manifest), plan.kernel, (PlanStep(variant, Verdict.UNKNOWN, ()),)
    )
    return _carried_out(alone, lambda one: None if one.is_fallback else prove(one, prepared))


def _carried_out(plan: Plan, proof: _Proof | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "runs": None, "fallback": False, "steps": [], "error": None, "programs": {}, "proof": None,
        "trouble": None,
    }  # fmt: skip
    try:
        with ground(plan.bundle.manifest) as prepare:
            row |= _ran(plan, prepare, proof)
    except HoldfastError as error:
        row["trouble"] = error.message
    except Exception as error:  # noqa: BLE001  as below
        traceback.print_exc()
        row["trouble"] = f"the ground of the proof broke: {type(error).__name__}: {error}"
    return row


def _ran(plan: Plan, prepare: Callable[[Session], None] | None, proof: _Proof | None) -> dict[str, Any]:
    try:
        with carry_out(plan, prepare=prepare) as outcome:
            row = {
                "runs": outcome.variant,
                "fallback": outcome.is_fallback and outcome.manifest.fallback is not _NOWHERE,
                "steps": [_step(one) for one in outcome.steps],
                "programs": _programs(outcome),
            }
            if proof is not None and outcome.manifest.proof is not None:
                row |= _proven(proof, outcome)
            return row
    except NoVariantError as error:
        return {"error": error.message, "steps": [_step(one) for one in error.steps]}
    except HoldfastError as error:
        return {"error": error.message}


def _proven(proof: _Proof, outcome: Outcome) -> dict[str, Any]:
    try:
        found = proof(outcome)
        return {"proof": None if found is None else found.to_dict()}
    except HoldfastError as error:
        return {"trouble": error.message}
    except Exception as error:  # noqa: BLE001  a bundle's own code: that it breaks is told, and is no verdict
        traceback.print_exc()
        return {"trouble": f"the proof broke: {type(error).__name__}: {error}"}


def _step(step: OutcomeStep) -> dict[str, Any]:
    # without what the host knows better (the prediction) and with no path of this process in the words
    return {
        "name": step.variant,
        "result": str(step.result),
        "error": step.error,
        "errno": step.errno or None,
        "words": step.words and step.words.replace(f"{step.object_path}: ", ""),
        "hint": step.hint,
        "log": step.log[-_LOG:],
    }


def _programs(outcome: Outcome) -> dict[str, Any]:
    infos = {name: program.info for name, program in outcome.programs.items()}
    return {
        name: {
            "verified_insns": info.verified_insns or None,
            "xlated_size": info.xlated_size,
            "jited_size": info.jited_size,
        }
        for name, info in infos.items()
    }
