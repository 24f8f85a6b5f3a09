# SPDX-License-Identifier: Apache-2.0
"""Answers of probes as bytes for the cache, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.kernels.probed import HelperUse, KfuncUse, ProbeFacts
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = ["from_bytes", "to_bytes"]

_Rows = dict[str, list[list[Any]]]


def to_bytes(probes: ProbeFacts) -> bytes:
    """The certain answers; those that stayed undecided are asked again the next time."""
    return json.dumps(
        {
            "program_types": _split({int(k): v for k, v in probes.program_types.items()}),
            "map_types": _split({int(k): v for k, v in probes.map_types.items()}),
            "helpers": _uses(probes.helpers),
            "kfuncs": _uses(probes.kfuncs),
            "insn_features": _split({str(k): v for k, v in probes.insn_features.items()}),
        },
        separators=(",", ":"),
    ).encode()


def _split(answers: Mapping[Any, bool | None]) -> list[list[Any]]:
    return [[key for key, value in answers.items() if value is wanted] for wanted in (False, True)]


def _uses(answers: Mapping[HelperUse, bool | None] | Mapping[KfuncUse, bool | None]) -> _Rows:
    # By program, so that thousands of answers are few objects.
    rows: dict[tuple[Any, ...], list[list[Any]]] = {}
    for use, value in answers.items():
        if value is not None:
            rows.setdefault(use[1:], [[], []])[value].append(use[0])
    return {json.dumps(how): halves for how, halves in rows.items()}


def from_bytes(content: bytes) -> ProbeFacts | None:
    """What :func:`to_bytes` wrote; None for anything else."""
    try:
        raw = json.loads(content)
        return ProbeFacts(
            {ProgramType(k): v for k, v in _joined(raw["program_types"])},
            {MapType(k): v for k, v in _joined(raw["map_types"])},
            {HelperUse(name, *how): v for name, how, v in _read_uses(raw["helpers"])},
            {KfuncUse(name, *how): v for name, how, v in _read_uses(raw["kfuncs"])},
            dict(_joined(raw["insn_features"])),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _joined(halves: list[list[Any]]) -> Iterable[tuple[Any, bool]]:
    refused, admitted = halves
    return [*((key, False) for key in refused), *((key, True) for key in admitted)]


def _read_uses(
    rows: _Rows,
) -> Iterable[tuple[Any, tuple[ProgramType, AttachType | None, bool | None], bool]]:
    for key, halves in rows.items():
        kind, attach, sleepable = json.loads(key)
        how = (ProgramType(kind), None if attach is None else AttachType(attach), sleepable)
        for name, value in _joined(halves):
            yield name, how, value
