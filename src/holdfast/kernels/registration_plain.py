# SPDX-License-Identifier: Apache-2.0
"""Registrations of kfuncs as plain dicts and lists and back, for JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast.kernels.kfuncs import Registration
from holdfast.terms import Evidence, ProgramType

__all__ = ["from_plain", "to_plain"]

_MOST: Final = 100_000  # registrations; a kernel has some 400
_MOST_FLAGS: Final = 64
_EVIDENCE: Final = frozenset(one.value for one in Evidence)


def to_plain(registrations: Mapping[str, Registration]) -> dict[str, Any]:
    """By kfunc name; program types and flags as sorted names."""
    return {name: _row(registrations[name]) for name in sorted(registrations)}


def _row(one: Registration) -> dict[str, Any]:
    types = one.program_types
    return {
        "flags": None if one.flags is None else sorted(one.flags),
        "program_types": None if types is None else [kind.name for kind in sorted(types)],
        "narrowed": one.narrowed,
        "evidence": [str(evidence) for evidence in one.evidence],
        "module": one.module,
        "by_type": None
        if one.by_type is None
        else {kind.name: sorted(flags) for kind, flags in sorted(one.by_type.items())},
        "filters": None
        if one.filters is None
        else {kind.name: list(names) for kind, names in sorted(one.filters.items())},
    }


def from_plain(raw: object) -> dict[str, Registration]:
    """What :func:`to_plain` was given. Raises :exc:`ValueError`, which says what is wrong, for all else."""
    if not isinstance(raw, dict) or len(raw) > _MOST:
        raise ValueError("registrations is no object of kfuncs")
    return {_name(name, "registrations"): _registration(row, name) for name, row in raw.items()}


def _registration(raw: object, name: str) -> Registration:
    what = f"registrations.{name:.60}"
    if not isinstance(raw, dict):
        raise ValueError(f"{what} is no object")
    types, module, by_type = raw.get("program_types"), raw.get("module"), raw.get("by_type")
    filters = raw.get("filters")
    narrowed = raw.get("narrowed")
    if not isinstance(narrowed, bool):
        raise ValueError(f"{what}.narrowed is neither true nor false")
    if by_type is not None and not isinstance(by_type, dict):
        raise ValueError(f"{what}.by_type is no object")
    if filters is not None and not isinstance(filters, dict):
        raise ValueError(f"{what}.filters is no object")
    return Registration(
        _flags(raw.get("flags"), what),
        None if types is None else _types(types, what),
        narrowed,
        tuple(_evidence(one, what) for one in _list(raw.get("evidence"), what)),
        None if module is None else _name(module, what),
        None
        if by_type is None
        else {_type(kind, what): _flags(flags, what) or frozenset() for kind, flags in by_type.items()},
        None
        if filters is None
        else {
            _type(kind, what): tuple(_name(name, what) for name in _list(names, what))
            for kind, names in filters.items()
        },
    )


def _types(raw: object, what: str) -> frozenset[ProgramType]:
    names = tuple(_list(raw, what))
    known = _TYPES.get(names) if all(isinstance(name, str) for name in names) else None
    if known is None:
        known = _TYPES[names] = frozenset(_type(name, what) for name in names)
    return known


_TYPES: Final[dict[tuple[str, ...], frozenset[ProgramType]]] = {}  # a few dozen lists serve all kernels


def _list(raw: object, what: str) -> list[Any]:
    if not isinstance(raw, list) or len(raw) > _MOST_FLAGS:
        raise ValueError(f"{what} has something that is no short list")
    return raw


def _flags(raw: object, what: str) -> frozenset[str] | None:
    return None if raw is None else frozenset(_name(one, what) for one in _list(raw, what))


def _type(raw: object, what: str) -> ProgramType:
    found = ProgramType.__members__.get(raw) if isinstance(raw, str) else None
    if found is None:
        raise ValueError(f"{what}: {str(raw)[:40]!r} is no program type that this Holdfast knows")
    return found


def _evidence(raw: object, what: str) -> Evidence:
    if not isinstance(raw, str) or raw not in _EVIDENCE:
        raise ValueError(f"{what}: {str(raw)[:40]!r} is no evidence")
    return Evidence(raw)


def _name(raw: object, what: str) -> str:
    if not isinstance(raw, str) or not raw or len(raw) > 512 or not raw.isprintable():
        raise ValueError(f"{what}: {str(raw)[:40]!r} is no name")
    return raw
