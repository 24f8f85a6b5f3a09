# SPDX-License-Identifier: Apache-2.0
"""Answers of probes as bytes for the cache.

They stay as they were read, by program type, attach type and sleepability, and only what is asked for is
turned into :class:`~holdfast.kernels.probed.ProbeFacts`: after `kernels show` there are thousands of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from holdfast.kernels.probed import HelperUse, KfuncUse, KindUse, ProbeFacts, Wanted

__all__ = ["ProbeStore"]

_Use = TypeVar("_Use", HelperUse, KfuncUse)
_Key = TypeVar("_Key")
# [what was refused, what was admitted], by table and JSON of the rest of the use.
_Rows = dict[str, list[list[Any]]]
_TABLES = ("program_types", "map_types", "helpers", "kfuncs", "insn_features", "kinds")


class ProbeStore:
    """Certain answers; those that stayed undecided are not kept, so they are asked again the next time."""

    def __init__(self, content: bytes = b"") -> None:
        """``content`` is what :meth:`to_bytes` gave; anything else counts as nothing."""
        self._tables: dict[str, _Rows] = {}
        try:
            raw = json.loads(content) if content else {}
            self._tables = {name: _checked(raw[name]) for name in _TABLES if name in raw}
        except (ValueError, TypeError):
            pass

    def to_bytes(self) -> bytes:
        return json.dumps(self._tables, separators=(",", ":")).encode()

    def answers(self, wanted: Wanted) -> ProbeFacts:
        """What is known of ``wanted``."""
        return ProbeFacts(
            self._plain("program_types", wanted.program_types),
            self._plain("map_types", wanted.map_types),
            self._uses("helpers", wanted.helpers),
            self._uses("kfuncs", wanted.kfuncs),
            self._plain("insn_features", wanted.insn_features),
            kinds=self._kinds(wanted.kinds),
        )

    def add(self, probes: ProbeFacts) -> None:
        """Remember the certain ones of these answers."""
        for name, answers in (
            ("program_types", probes.program_types),
            ("map_types", probes.map_types),
            ("insn_features", probes.insn_features),
        ):
            for key, value in answers.items():
                self._put(name, "", key, value)
        for kind, value in probes.kinds.items():
            self._put("kinds", "", _kind(kind), value)
        for name, uses in (("helpers", probes.helpers), ("kfuncs", probes.kfuncs)):
            for use, value in uses.items():
                self._put(name, _how(use), use[0], value)

    def _kinds(self, kinds: Iterable[KindUse]) -> dict[KindUse, bool | None]:
        known = self._plain("kinds", [_kind(kind) for kind in kinds])
        return {kind: known[_kind(kind)] for kind in kinds if _kind(kind) in known}

    def _put(self, table: str, how: str, key: Any, value: bool | None) -> None:
        if value is not None:
            halves = self._tables.setdefault(table, {}).setdefault(how, [[], []])
            halves[value].append(key)

    def _plain(self, table: str, keys: Iterable[_Key]) -> dict[_Key, bool | None]:
        halves = self._tables.get(table, {}).get("", [[], []])
        found = {key: _side(halves, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def _uses(self, table: str, uses: Iterable[_Use]) -> dict[_Use, bool | None]:
        rows = self._tables.get(table, {})
        sides: dict[tuple[Any, ...], Mapping[Any, bool]] = {}
        found: dict[_Use, bool | None] = {}
        for use in uses:
            how = use[1:]
            if how not in sides:
                refused, admitted = rows.get(_how(use), [[], []])
                sides[how] = dict.fromkeys(refused, False) | dict.fromkeys(admitted, True)
            value = sides[how].get(use[0])
            if value is not None:
                found[use] = value
        return found


def _kind(use: KindUse) -> str:
    return json.dumps(use)


def _how(use: HelperUse | KfuncUse) -> str:
    _, kind, attach, sleepable = use
    return f"{kind:d},{'' if attach is None else int(attach)},{'' if sleepable is None else int(sleepable)}"


def _side(halves: list[list[Any]], key: Any) -> bool | None:
    return True if key in halves[1] else False if key in halves[0] else None


def _checked(rows: Any) -> _Rows:
    for halves in rows.values() if isinstance(rows, dict) else [None]:
        if not isinstance(halves, list) or [type(half) for half in halves] != [list, list]:
            raise ValueError("no table of answers")
    return rows  # type: ignore[no-any-return]
