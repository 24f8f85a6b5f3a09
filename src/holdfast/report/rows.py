# SPDX-License-Identifier: Apache-2.0
"""Needs and verdicts as plain dicts, the shapes that ``--format json`` prints and other tools rely on."""

from __future__ import annotations

from dataclasses import fields

from holdfast.btf.ext import CoreRelo
from holdfast.elf.spec import ExternSpec, MapSpec
from holdfast.needs.model import Need, ObjectNeeds, ProgramNeeds
from holdfast.predict.model import Hazard, PastLoad, ProgramVerdict, Reason
from holdfast.terms import MapType

__all__ = ["SCHEMA_VERSION", "map_row", "need_row", "object_needs_row", "verdict_row"]

SCHEMA_VERSION = 1
_BASE = frozenset(field.name for field in fields(Need)) | {"relo", "extern", "map"}


def verdict_row(verdict: ProgramVerdict) -> dict[str, object]:
    """One element of ``results`` of ``check --format json``."""
    return {
        "object": verdict.object_path,
        "sha256": verdict.sha256,
        "program": verdict.program,
        "section": verdict.section,
        "type": verdict.type.name,
        "kernel": verdict.kernel,
        "libbpf": "{}.{}".format(*verdict.libbpf),
        "verdict": verdict.verdict.value,
        "reasons": [_reason(reason) for reason in verdict.reasons],
        "hazards": [_hazard(hazard) for hazard in verdict.hazards],
        "load": None if verdict.load is None else _load(verdict.load),
    }


def _load(load: PastLoad) -> dict[str, object]:
    return {
        "loader": load.loader,
        "loaded": load.loaded,
        "errno": load.errno,
        "words": load.words,
        "predicted": load.predicted.value,
    }


def _reason(reason: Reason) -> dict[str, object]:
    return {
        "code": reason.code.value,
        "need": reason.need,
        "message": reason.message,
        "source": reason.source,
        "evidence": reason.evidence.value,
        "certain": reason.certain,
        "hint": reason.hint,
    }


def _hazard(hazard: Hazard) -> dict[str, object]:
    return {
        "code": hazard.code.value,
        "need": hazard.need,
        "message": hazard.message,
        "source": hazard.source,
        "evidence": hazard.evidence.value,
        "hint": hazard.hint,
    }


def object_needs_row(needs: ObjectNeeds) -> dict[str, object]:
    """One element of ``objects`` of ``needs --format json``."""
    return {
        "object": needs.path,
        "sha256": needs.sha256,
        "programs": [_program(program) for program in needs.programs],
    }


def _program(needs: ProgramNeeds) -> dict[str, object]:
    program = needs.program
    return {
        "program": program.name,
        "section": program.section,
        "type": program.type.name,
        "autoload": program.autoload,
        "needs": [need_row(need) for need in needs.needs],
    }


def need_row(need: Need) -> dict[str, object]:
    """One need: what all have in common, then what its kind adds."""
    row: dict[str, object] = {
        "kind": need.kind.value,
        "name": need.name,
        "source": need.source,
        "conditions": list(need.conditions),
        "instructions": list(need.slots),
    }
    for field in fields(need):
        if field.name not in _BASE:
            row[field.name] = _plain(getattr(need, field.name))
    for name in "map", "extern", "relo":
        value = getattr(need, name, None)
        if isinstance(value, MapSpec):
            row["map"] = map_row(value)
        elif isinstance(value, ExternSpec):
            row["extern"] = value.kind.value
        elif isinstance(value, CoreRelo):
            row["access"] = value.access
    return row


def map_row(spec: MapSpec) -> dict[str, object]:
    """A map's declaration; sizes in bytes."""
    row: dict[str, object] = {
        "type": spec.type.name if isinstance(spec.type, MapType) else spec.type,
        "key_size": spec.key_size,
        "value_size": spec.value_size,
        "max_entries": spec.max_entries,
        "flags": spec.flags,
        "map_extra": spec.map_extra,
        "origin": spec.origin.value,
        "autocreate": spec.autocreate,
    }
    if spec.inner is not None:
        row["inner"] = map_row(spec.inner)
    return row


def _plain(value: object) -> object:
    name = getattr(value, "name", None)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int) and isinstance(name, str):
        return name  # an enumerator of the UAPI
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
