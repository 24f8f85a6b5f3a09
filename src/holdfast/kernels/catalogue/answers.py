# SPDX-License-Identifier: Apache-2.0
"""Answers of probes as a blob: what nobody asks for is not read, and of 500 rows only those that are.

A blob of :mod:`holdfast.kernels.catalogue.parts` of the kind ``answers``:

======== =====================================================================================
part     what
======== =====================================================================================
obstacle UTF-8
ways     the columns of ``helpers``, u16 LE each: the numbers of all program types, then those of
         their attach types, then whether they sleep (0, 1); 0xffff for None
ways2    those of ``kfuncs``; empty where they are the same
helpers  a line for each helper: its number, a space, a letter for each way
kfuncs   the same by name
tables   JSON: all others, as :func:`holdfast.kernels.probe_plain.to_plain` gives them
======== =====================================================================================
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from functools import cache
from itertools import repeat
from typing import Final, TypeVar

from holdfast.kernels.answer_table import AnswerTable, RowText, Way
from holdfast.kernels.catalogue.parts import DamagedError, Parts, pack
from holdfast.kernels.probe_plain import from_plain, to_plain
from holdfast.kernels.probed import HelperUse, KfuncUse, ProbeFacts
from holdfast.terms import AttachType, ProgramType

__all__ = ["pack_answers", "read_answers"]

_KIND: Final = "answers"
_NONE: Final = 0xFFFF
_SLEEPS: Final = {0: False, 1: True, _NONE: None}
_Key = TypeVar("_Key")


def pack_answers(probes: ProbeFacts) -> bytes:
    """All of them as one blob."""
    helpers = AnswerTable.of(HelperUse, probes.helpers)
    kfuncs = AnswerTable.of(KfuncUse, probes.kfuncs)
    same = kfuncs.ways == helpers.ways  # as with a kernel that was asked for all
    apart = ("obstacle", "helpers", "kfuncs")
    tables = {name: value for name, value in to_plain(probes).items() if name not in apart}
    return pack(
        _KIND,
        {
            "obstacle": probes.obstacle.encode(),
            "ways": _numbers(helpers.ways),
            "ways2": b"" if same else _numbers(kfuncs.ways),
            "helpers": RowText.spell(helpers.rows).encode(),
            "kfuncs": RowText.spell(kfuncs.rows).encode(),
            "tables": json.dumps(tables, separators=(",", ":")).encode(),
        },
    )


def read_answers(blob: bytes) -> ProbeFacts:
    """What :func:`pack_answers` was given. Raises :exc:`~holdfast.kernels.catalogue.parts.DamagedError`.

    What is read later and is none of ours counts as not asked.
    """
    parts = Parts(blob, _KIND)
    try:
        columns = _ways(parts["ways"])
        others = _ways(parts["ways2"]) or columns
        helpers = AnswerTable(HelperUse, columns, RowText(parts["helpers"].decode(), len(columns), int))
        kfuncs = AnswerTable(KfuncUse, others, RowText(parts["kfuncs"].decode(), len(others), str))
        obstacle = parts["obstacle"].decode()
    except (ValueError, KeyError, struct.error) as error:
        raise DamagedError(f"no {_KIND}: {error}") from error
    text = parts["tables"]

    @cache
    def tables() -> ProbeFacts:
        try:
            return from_plain(json.loads(text))
        except (ValueError, RecursionError):
            return ProbeFacts()

    return ProbeFacts(
        _Later(lambda: tables().program_types),
        _Later(lambda: tables().map_types),
        helpers,
        kfuncs,
        _Later(lambda: tables().insn_features),
        obstacle,
        _Later(lambda: tables().kinds),
        _Later(lambda: tables().attach_types),
        _Later(lambda: tables().link_types),
        _Later(lambda: tables().attachments),
    )


class _Later(Mapping[_Key, "bool | None"]):
    """A table that is read when it is first asked for anything."""

    __slots__ = ("_find", "_found")

    def __init__(self, find: Callable[[], Mapping[_Key, bool | None]]) -> None:
        self._find = find
        self._found: Mapping[_Key, bool | None] | None = None

    def _all(self) -> Mapping[_Key, bool | None]:
        if self._found is None:
            self._found = self._find()
        return self._found

    def __getitem__(self, key: _Key) -> bool | None:
        return self._all()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._all()

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _numbers(ways: tuple[Way, ...]) -> bytes:
    attaches = [_NONE if attach is None else attach for _, attach, _ in ways]
    sleeps = [_NONE if sleepable is None else sleepable for *_, sleepable in ways]
    return struct.pack(f"<{3 * len(ways)}H", *(kind for kind, *_ in ways), *attaches, *sleeps)


def _ways(raw: bytes) -> tuple[Way, ...]:
    """A kernel has 200 of them, and each line of Python for each of them takes a tenth of a millisecond."""
    numbers = struct.unpack(f"<{len(raw) // 2}H", raw)
    count = len(numbers) // 3
    kinds = map(_members(ProgramType).__getitem__, numbers[:count])
    attaches = map(_members(AttachType).__getitem__, numbers[count : 2 * count])
    sleeps = map(_SLEEPS.__getitem__, numbers[2 * count :])
    made: Iterator[Way] = map(tuple.__new__, repeat(Way), zip(kinds, attaches, sleeps, strict=True))
    return tuple(made)


@cache
def _members(kind: type[IntEnum]) -> dict[int, IntEnum | None]:
    found: dict[int, IntEnum | None] = {int(one): one for one in kind}
    return found | {_NONE: None}
