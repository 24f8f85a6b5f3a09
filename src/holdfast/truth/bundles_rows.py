# SPDX-License-Identifier: Apache-2.0
"""Bundles as plain dicts (``bundles`` of ``verify --format json``) and as cases for the forms of others."""

from __future__ import annotations

from typing import Any

from holdfast.bundle.rows import reason_row
from holdfast.report.cases import Case, State
from holdfast.truth.bundles_judge import BundleCase, VariantCase
from holdfast.truth.bundles_text import bundle_lines

__all__ = ["bundle_case_row", "case_of_bundle"]


def bundle_case_row(case: BundleCase) -> dict[str, Any]:
    """One element of ``bundles``; docs/json.md tells the keys."""
    return {
        "bundle": case.bundle,
        "path": case.path,
        "kernel": case.kernel,
        "predicted": case.predicted.value,
        "best": case.best,
        "variant": case.ran,
        "fallback": case.fallback,
        "works": case.works,
        "error": case.error or None,
        "trouble": case.trouble or None,
        "fails": list(case.fails),
        "open": list(case.open),
        "variants": [_variant_row(one) for one in case.variants],
        "fallback_proof": case.user_space.to_dict() if case.user_space else None,
    }


def _variant_row(one: VariantCase) -> dict[str, Any]:
    return {
        "name": one.name,
        "sha256": one.sha256,
        "predicted": one.predicted.value,
        "reasons": [reason_row(reason) for reason in one.reasons],
        "planned": one.planned or None,
        "loaded": one.loaded,
        "right": None if one.loaded is None else not one.is_false,
        "trouble": one.trouble or one.broke or None,
        "errno": one.errno,
        "words": one.words or None,
        "log": one.log or None,
        "works": one.works,
        "proof": one.proof.to_dict() if one.proof else None,
        "programs": dict(one.programs),
        "seconds": one.seconds,
    }


def case_of_bundle(case: BundleCase) -> Case:
    """A bundle as one case: it loads where a variant runs and all that loads works."""
    state = case.state
    lines = tuple(bundle_lines(case))
    return Case(
        case.path,
        case.bundle,
        case.kernel,
        case.predicted,
        loaded=None if state is State.ERROR else state is State.LOADS,
        tried=True,
        trouble="; ".join(case.open),
        said=lines,
        last="; ".join(case.fails),
        seconds=sum(one.seconds or 0 for one in case.variants),
    )
