# SPDX-License-Identifier: Apache-2.0
"""Cases as SARIF 2.1.0 (OASIS), which code hosts show beside the lines that they are about.

What loads as predicted is no result. A program that fails is an error; a wrong prediction, a program that
cannot be told and a load that could not be tried are warnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from holdfast._version import __version__
from holdfast.report.cases import Case, State

__all__ = ["sarif"]

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_OWN_RULES: Final = {
    "LOAD_REFUSED": "libbpf or the kernel refused the program for a reason that was not predicted.",
    "INFRASTRUCTURE": "The kernel did not boot or the guest was lost; this says nothing about the program.",
    "NONE": "The program loads although it was predicted to fail.",
}


def sarif(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the document as plain dicts and lists."""
    told = [case for case in cases if case.state is not State.LOADS or case.is_false]
    rules = sorted({case.code for case in told})
    index = {code: number for number, code in enumerate(rules)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "holdfast",
                        "semanticVersion": __version__,
                        "rules": [_rule(code) for code in rules],
                    }
                },
                "results": [_result(case, index[case.code]) for case in told],
            }
        ],
    }


def _rule(code: str) -> dict[str, Any]:
    text = _OWN_RULES.get(code, f"{code}: see docs/reasons.md")
    return {"id": code, "shortDescription": {"text": text}}


def _result(case: Case, index: int) -> dict[str, Any]:
    message = f"{case.program} on {case.kernel}: {case.line}"
    hint = next((reason.hint for reason in case.reasons if reason.hint), None)
    return {
        "ruleId": case.code,
        "ruleIndex": index,
        "level": "error" if case.state is State.FAILS else "warning",
        "message": {"text": f"{message}; hint: {hint}" if hint else message},
        "locations": [_location(case)],
        # the same finding in the next run has the same fingerprint, whatever the kernel's words are then
        "partialFingerprints": {"holdfast/1": f"{case.object}:{case.program}:{case.kernel}:{case.code}"},
    }


def _location(case: Case) -> dict[str, Any]:
    name, _, line = (case.source or "").rpartition(":")
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(name or case.object)}}
    if line.isdigit() and int(line) > 0:
        place["region"] = {"startLine": int(line)}
    names = [
        {"name": case.program, "fullyQualifiedName": f"{case.object}:{case.program}", "kind": "function"}
    ]
    return {"physicalLocation": place, "logicalLocations": names}
