# SPDX-License-Identifier: Apache-2.0
"""All answers of probes as plain dicts and lists and back: for JSON files, the catalogue and guests.

Unlike :mod:`holdfast.kernels.probe_store`, which keeps certain answers for the cache, nothing is lost:
undecided ones come back undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final, TypeVar

from holdfast.kernels.answer_table import AnswerTable, Way
from holdfast.kernels.probed import HelperUse, KfuncUse, KindUse, ProbeFacts
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = ["from_plain", "to_plain"]

_Number = TypeVar("_Number", bound=IntEnum)
_MOST_ROWS: Final = 100_000  # of a table; a kernel has some 220 helpers and 400 kfuncs
_MOST_WAYS: Final = 1000
_LONGEST_NAME: Final = 512  # characters, KSYM_NAME_LEN
# Copies: an enum makes a new view for whoever asks for its members, and a table asks 400 times.
_MEMBERS: Final[Mapping[type[IntEnum], dict[str, Any]]] = {
    kind: dict(kind.__members__) for kind in (ProgramType, MapType, AttachType)
}


def to_plain(probes: ProbeFacts) -> dict[str, Any]:
    """Names for types, ``true``, ``false`` and ``null`` for answers; a text of letters for each helper and
    kfunc (see :class:`~holdfast.kernels.answer_table.AnswerTable`).
    """
    return {
        "obstacle": probes.obstacle,
        "program_types": {kind.name: value for kind, value in sorted(probes.program_types.items())},
        "map_types": {kind.name: value for kind, value in sorted(probes.map_types.items())},
        "attach_types": {kind.name: value for kind, value in sorted(probes.attach_types.items())},
        "link_types": dict(sorted(probes.link_types.items())),
        "attachments": dict(sorted(probes.attachments.items())),
        "insn_features": {str(key): value for key, value in sorted(probes.insn_features.items())},
        "kinds": [[*_way(kind), value] for kind, value in sorted(probes.kinds.items(), key=repr)],
        "helpers": _table(AnswerTable.of(HelperUse, probes.helpers)),
        "kfuncs": _table(AnswerTable.of(KfuncUse, probes.kfuncs)),
    }


def from_plain(raw: object) -> ProbeFacts:
    """What :func:`to_plain` was given. Raises :exc:`ValueError`, which says what is wrong, for anything else.

    A type that this Holdfast does not know is an error too: the rows would not mean what they say.
    """
    fields = _dict(raw, "probes")
    obstacle = fields.get("obstacle", "")
    if not isinstance(obstacle, str) or len(obstacle) > 1000:
        raise ValueError("obstacle is no short text")
    helpers, kfuncs = (_dict(fields.get(table, {}), table) for table in ("helpers", "kfuncs"))
    ways = _ways(helpers, "helpers")
    same = kfuncs.get("ways") == helpers.get("ways")  # they are the same to a kernel that was asked for all
    return ProbeFacts(
        _plain(fields, "program_types", lambda name: _number(ProgramType, name)),
        _plain(fields, "map_types", lambda name: _number(MapType, name)),
        _uses(helpers, "helpers", HelperUse, _helper, ways),
        _uses(kfuncs, "kfuncs", KfuncUse, _name, ways if same else _ways(kfuncs, "kfuncs")),
        _plain(fields, "insn_features", _name),
        obstacle,
        _kinds(fields.get("kinds", [])),
        _plain(fields, "attach_types", lambda name: _number(AttachType, name)),
        _plain(fields, "link_types", _name),
        _plain(fields, "attachments", _name),
    )


def _way(way: Way | KindUse) -> list[Any]:
    kind, attach, sleepable = way
    return [kind.name, None if attach is None else attach.name, sleepable]


def _table(table: AnswerTable[Any]) -> dict[str, Any]:
    return {
        "ways": [_way(way) for way in table.ways],
        "rows": {str(key): row for key, row in table.rows.items()},
    }


# -- back -----------------------------------------------------------------------------------------

_Key = TypeVar("_Key")


def _dict(raw: object, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"{what} is no object")
    if len(raw) > _MOST_ROWS:
        raise ValueError(f"{what} has {len(raw)} entries")
    return raw


def _list(raw: object, what: str) -> list[Any]:
    if not isinstance(raw, list):
        raise ValueError(f"{what} is no list")
    if len(raw) > _MOST_WAYS:
        raise ValueError(f"{what} has {len(raw)} entries")
    return raw


def _plain(fields: Mapping[str, Any], table: str, key: Callable[[str], _Key]) -> dict[_Key, bool | None]:
    return {
        key(name): _answer(value, f"{table}.{name:.40}")
        for name, value in _dict(fields.get(table, {}), table).items()
    }


def _ways(raw: Mapping[str, Any], table: str) -> tuple[Way, ...]:
    what = f"{table}.ways"
    return tuple(_read_way(one, what) for one in _list(raw.get("ways", []), what))


def _uses(
    raw: Mapping[str, Any], table: str, make: Any, key: Callable[[str], Any], ways: tuple[Way, ...]
) -> AnswerTable[Any]:
    rows = _dict(raw.get("rows", {}), f"{table}.rows")
    if not all(isinstance(row, str) for row in rows.values()):
        raise ValueError(f"{table}.rows has something that is no text")
    return AnswerTable(make, ways, {key(name): row for name, row in rows.items()})


def _kinds(raw: object) -> dict[KindUse, bool | None]:
    found = {}
    for row in _list(raw, "kinds"):
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError("kinds has a row that is no list of 4")
        kind, attach, sleepable = _read_way(row[:3], "kinds")
        found[KindUse(kind, attach, bool(sleepable))] = _answer(row[3], "kinds")
    return found


def _read_way(raw: object, what: str) -> Way:
    if not isinstance(raw, list) or len(raw) != 3:
        raise ValueError(f"{what} has an entry that is no list of 3")
    kind, attach, sleepable = raw
    return Way(
        _number(ProgramType, kind),
        None if attach is None else _number(AttachType, attach),
        _answer(sleepable, what),
    )


def _answer(raw: object, what: str) -> bool | None:
    if raw is None or isinstance(raw, bool):
        return raw
    raise ValueError(f"{what} is neither true, false nor null")


def _number(kind: type[_Number], name: object) -> _Number:
    found: _Number | None = _MEMBERS[kind].get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"{str(name)[:40]!r} is no {kind.__name__} that this Holdfast knows")
    return found


def _helper(name: str) -> int:
    if not name.isascii() or not name.isdigit() or len(name) > 9:
        raise ValueError(f"{name[:40]!r} is no number of a helper")
    return int(name)


def _name(name: str) -> str:
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"{name[:40]!r} is no name")
    return name
