# SPDX-License-Identifier: Apache-2.0
"""A plan as plain dicts: a row of ``bundles`` in the JSON of ``check``, and what ``run`` prints."""

from __future__ import annotations

from holdfast.bundle.plan import Plan, PlanReason, PlanStep

__all__ = ["bundle_row", "reason_row", "variant_row"]


def bundle_row(plan: Plan) -> dict[str, object]:
    """Returns a bundle's verdict on one kernel: strings, truth values, lists and dicts alone."""
    return {
        "bundle": plan.bundle.name,
        "path": str(plan.bundle.path),
        "kernel": plan.kernel,
        "verdict": str(plan.verdict),
        "best": plan.best,
        "fallback": plan.fallback is not None,
        "variants": [variant_row(step) for step in plan.steps],
    }


def variant_row(step: PlanStep) -> dict[str, object]:
    """Returns one variant's verdict."""
    return {
        "name": step.variant.name,
        "object": str(step.variant.path),
        "sha256": step.variant.sha256,
        "verdict": str(step.verdict),
        "reasons": [reason_row(one) for one in step.reasons],
    }


def reason_row(reason: PlanReason) -> dict[str, object]:
    """Returns one reason, with the keys that ``check`` uses, and the program's name."""
    return {
        "program": reason.program,
        "code": reason.code,
        "need": reason.need,
        "message": reason.message,
        "source": reason.source,
        "evidence": reason.evidence,
        "certain": reason.certain,
        "hint": reason.hint,
    }
