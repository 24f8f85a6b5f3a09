# SPDX-License-Identifier: Apache-2.0
"""Lives and differences as plain dicts, the shapes that ``--format json`` prints and other tools rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.history.builds import Presence
from holdfast.history.contract import Contract, PromiseKind
from holdfast.history.diff import Difference, KernelDiff, Turn
from holdfast.history.grades import grade
from holdfast.history.known import KNOWN
from holdfast.history.life import KfuncLife, Lives, Sighting, Step
from holdfast.history.renames import Rename
from holdfast.history.versions import series_name

__all__ = ["SCHEMA_VERSION", "diff_row", "kernel_rows", "kfunc_row", "kfunc_summary", "turn_row"]

SCHEMA_VERSION = 1


def kernel_rows(lives: Lives) -> list[dict[str, str]]:
    """The kernels, oldest first."""
    return [
        {"id": one.id, "release": one.facts.release, "series": one.series_name, "flavour": one.flavour}
        for one in lives.builds
    ]


def kfunc_summary(life: KfuncLife) -> dict[str, Any]:
    """One kfunc in short: grade, first and last series, what it is in the newest kernel that has it."""
    graded = grade(life)
    last = life.last
    types = last.state.program_types if last else None
    return {
        "name": life.name,
        "grade": graded.word,
        "grade_reason": graded.reason,
        "first": life.first.build.series_name if life.first else None,
        "last": last.build.series_name if last else None,
        "modules": life.modules,
        "program_types": None if types is None else [kind.name for kind in sorted(types)],
    }


def kfunc_row(life: KfuncLife, contracts: Sequence[Contract] = ()) -> dict[str, Any]:
    """One kfunc with everything."""
    wrong = [one for one in KNOWN if life.name in one.names]
    return kfunc_summary(life) | {
        "config": {"option": life.option, "source": life.option_source} if life.option else None,
        "kernels": [_sighting(one) for one in life.sightings],
        "changes": [_step(step) for step in life.steps],
        "renamed_from": [_rename(one) for one in life.renamed_from],
        "renamed_to": [_rename(one) for one in life.renamed_to],
        "contracts": [row for contract in contracts for row in _promises(contract, life.name)],
        "known_wrong": [
            {
                "what": one.what,
                "from": series_name(one.since) if one.sign is None else None,
                "until": series_name(one.until) if one.until else None,
                "source": one.source,
                "hint": one.hint,
            }
            for one in wrong
        ],
    }


def _sighting(one: Sighting) -> dict[str, Any]:
    state = one.state
    row: dict[str, Any] = {"id": one.build.id, "presence": state.presence.value}
    if state.presence is not Presence.PRESENT:
        return row | {"hidden_by": one.hidden_by, "note": state.note or None}
    types, by_type = state.program_types, state.by_type
    return row | {
        "module": state.module,
        "prototype": state.function.text if state.function else None,
        "prototype_is_wrong": state.exposed,
        "flags": None if state.flags is None else sorted(state.flags),
        "flags_by_type": {kind.name: sorted(by_type[kind]) for kind in sorted(by_type)} if by_type else None,
        "program_types": None if types is None else [kind.name for kind in sorted(types)],
        "narrowed": state.narrowed,
        "evidence": [str(evidence) for evidence in state.evidence],
    }


def _step(step: Step) -> dict[str, Any]:
    change = step.change
    return {
        "from": step.before.id,
        "to": step.after.id,
        "series": step.after.series_name,
        "aspect": change.aspect.value,
        "effect": change.effect.value,
        "what": change.what,
        "before": change.before,
        "after": change.after,
    }


def _rename(one: Rename) -> dict[str, Any]:
    return {
        "old": one.old,
        "new": one.new,
        "release": one.release,
        "source": one.source,
        "note": one.note or None,
        "guess": one.guess,
    }


def _promises(contract: Contract, name: str) -> list[dict[str, Any]]:
    promise = contract.promise(PromiseKind.KFUNC, name)
    if promise is None:
        return []
    return [
        {
            "contract": contract.name,
            "version": contract.version,
            "strength": contract.strength.value,
            "span": promise.span,
            "replaced_by": promise.replaced_by or None,
            "source": promise.source or contract.source,
        }
    ]


def diff_row(found: KernelDiff) -> dict[str, Any]:
    """``kernels diff --format json`` without its verdicts."""
    return {
        "schema_version": SCHEMA_VERSION,
        "before": found.before,
        "after": found.after,
        "differences": [_difference(one) for one in found.differences],
        "untold": list(found.untold),
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "section": one.section.value,
        "name": one.name,
        "how": one.how.value,
        "effect": one.effect.value,
        "what": one.what or None,
        "before": one.before or None,
        "after": one.after or None,
    }


def turn_row(one: Turn) -> dict[str, Any]:
    """One program whose verdict turns."""
    return {
        "object": one.object_path,
        "program": one.program,
        "before": one.before.value,
        "after": one.after.value,
        "reason": None
        if one.reason is None
        else {"code": one.reason.code.value, "need": one.reason.need, "message": one.reason.message},
    }
