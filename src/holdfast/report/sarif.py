# SPDX-License-Identifier: Apache-2.0
"""Cases as SARIF 2.1.0 (OASIS), which code hosts show beside the lines that they are about.

What loads as predicted is no result. A program that fails is an error; a wrong prediction, a program that
cannot be told and a load that could not be tried are warnings. One result stands for all kernels on which
the same is to be said of a program, so that a reader gets one alert for it and not thirty.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from holdfast._version import __version__
from holdfast.report.cases import Case, State
from holdfast.report.code_text import code_text

__all__ = ["MOST_RESULTS", "sarif"]

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MOST_RESULTS: Final = 5000
"""GitHub shows as many of a run and refuses a file with more than 25,000 ("SARIF results exceed limits" in
its documentation of code scanning); errors go first.
"""
_NAMED: Final = 8  # kernels by name in a message

_Key = tuple[str, str, str, str | None, str, str]


def sarif(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the document as plain dicts and lists."""
    groups: dict[_Key, list[Case]] = {}
    for case in cases:
        if case.state is not State.LOADS or case.is_false:
            key = case.object, case.program, case.code, case.source, _level(case), case.line
            groups.setdefault(key, []).append(case)
    told = sorted(groups.values(), key=lambda group: _level(group[0]) != "error")[:MOST_RESULTS]
    rules = sorted({group[0].code for group in told})
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
                "results": [_result(group, index[group[0].code]) for group in told],
            }
        ],
    }


def _level(case: Case) -> str:
    return "error" if case.state is State.FAILS else "warning"


def _rule(code: str) -> dict[str, Any]:
    text = {"text": code_text(code)}
    # all three: GitHub shows the short one in lists, the full one above an alert, the help below it
    return {
        "id": code,
        "shortDescription": text,
        "fullDescription": text,
        "help": {"text": f"{text['text']} docs/reasons.md of Holdfast says what to do about {code}."},
    }


def _result(group: Sequence[Case], index: int) -> dict[str, Any]:
    case = group[0]
    message = f"{case.program} on {_kernels(group)}: {case.line}"
    hint = next((reason.hint for reason in case.reasons if reason.hint), None)
    return {
        "ruleId": case.code,
        "ruleIndex": index,
        "level": _level(case),
        "message": {"text": f"{message}; hint: {hint}" if hint else message},
        "locations": [_location(case)],
        # the same finding in the next run has the same fingerprint, whatever kernels it is found on then
        "partialFingerprints": {
            "holdfast/2": f"{case.object}:{case.program}:{case.code}:{case.need or case.kernel}"
        },
        "properties": {"kernels": [one.kernel for one in group]},
    }


def _kernels(group: Sequence[Case]) -> str:
    names = [case.kernel for case in group]
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _location(case: Case) -> dict[str, Any]:
    name, _, line = (case.source or "").rpartition(":")
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(name or case.object)}}
    if line.isdigit() and int(line) > 0:
        place["region"] = {"startLine": int(line)}
    names = [
        {"name": case.program, "fullyQualifiedName": f"{case.object}:{case.program}", "kind": "function"}
    ]
    return {"physicalLocation": place, "logicalLocations": names}


def _uri(path: str) -> str:
    """A URI reference (RFC 3986): absolute paths get a scheme, and no colon passes for one."""
    pure = PurePosixPath(path)
    return pure.as_uri() if pure.is_absolute() else quote(str(pure).encode("utf-8", "surrogateescape"))
