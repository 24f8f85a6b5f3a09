# SPDX-License-Identifier: Apache-2.0
"""Answers about calls as a table: a row for each helper or kfunc, a column for each way to load a program.

A kernel gives some 40,000 of them. As text with one character each they take 40 KB, are equal when read
again, and cost nothing until somebody looks one up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from holdfast.terms import AttachType, ProgramType

if TYPE_CHECKING:
    from holdfast.kernels.probed import HelperUse, KfuncUse

__all__ = ["AnswerTable", "RowText", "Way", "letter"]

_Use = TypeVar("_Use", "HelperUse", "KfuncUse")

_VALUES: Final[dict[str, bool | None]] = {"1": True, "0": False, "?": None}
_LETTERS: Final = {True: "1", False: "0", None: "?"}
_NOT_ASKED: Final = "."


class Way(NamedTuple):
    """A way to load a program: what a use says besides the helper or kfunc."""

    program_type: ProgramType
    attach_type: AttachType | None = None
    sleepable: bool | None = None


class AnswerTable(Mapping[_Use, "bool | None"], Generic[_Use]):
    """Answers by use, for :class:`~holdfast.kernels.probed.ProbeFacts`.

    ``rows`` has a text for each helper (number) or kfunc (name), with a letter for each of ``ways``: ``1``
    yes, ``0`` no, ``?`` undecided, ``.`` not asked. Raises :exc:`ValueError` where these do not fit, but for
    a :class:`RowText`, which leaves out rows that do not.
    """

    __slots__ = ("_by_attach_type", "_columns", "_make", "rows", "ways")

    def __init__(self, make: type[_Use], ways: tuple[Way, ...], rows: Mapping[int | str, str]) -> None:
        self._make: type[_Use] = make
        self.ways = ways
        self.rows: Mapping[int | str, str] = rows if isinstance(rows, RowText) else dict(rows)
        self._columns: dict[Way, int] | None = None
        self._by_attach_type: set[ProgramType] | None = None
        if isinstance(rows, RowText):
            return
        if len(self._column_of()) != len(ways):
            raise ValueError("a way is there twice")
        text = "".join(self.rows.values()).encode("utf-8", "surrogatepass")
        if text.translate(None, b"10?.") or {*map(len, self.rows.values())} - {len(ways)}:
            row = next(row for row in self.rows.values() if len(row) != len(ways) or row.strip("10?."))
            raise ValueError(f"{row[:40]!r} is no row of {len(ways)} answers")

    @classmethod
    def of(cls, make: type[_Use], answers: Mapping[_Use, bool | None]) -> AnswerTable[_Use]:
        """The same answers as a table."""
        if isinstance(answers, AnswerTable):
            return answers
        ways = tuple(sorted({Way(*use[1:]) for use in answers}, key=_order))
        columns = {way: column for column, way in enumerate(ways)}
        rows: dict[int | str, list[str]] = {}
        for use, value in answers.items():
            row = rows.get(use[0])
            if row is None:
                row = rows[use[0]] = [_NOT_ASKED] * len(ways)
            row[columns[Way(*use[1:])]] = _LETTERS[value]
        return cls(make, ways, {key: "".join(rows[key]) for key in sorted(rows, key=str)})

    def _column_of(self) -> dict[Way, int]:
        if self._columns is None:
            self._columns = {way: column for column, way in enumerate(self.ways)}
        return self._columns

    def of_row(self, key: int | str) -> Iterator[tuple[Way, bool | None]]:
        """The answers for one helper or kfunc; none where it was not asked."""
        for way, spelt in zip(self.ways, self.rows.get(key, ""), strict=False):
            if spelt != _NOT_ASKED:
                yield way, _VALUES[spelt]

    def tells_attach_types(self, program_type: ProgramType) -> bool:
        """Whether programs of this type were asked by attach type: the type has some of its own."""
        if self._by_attach_type is None:
            self._by_attach_type = {kind for kind, attach, _ in self.ways if attach is not None}
        return program_type in self._by_attach_type

    def __getitem__(self, use: _Use) -> bool | None:
        row = self.rows.get(use[0])
        column = self._column_of().get(Way(*use[1:]))
        if row is None or column is None or row[column] == _NOT_ASKED:
            raise KeyError(use)
        return _VALUES[row[column]]

    def __iter__(self) -> Iterator[_Use]:
        for key, row in self.rows.items():
            for way, spelt in zip(self.ways, row, strict=True):
                if spelt != _NOT_ASKED:
                    yield self._make(key, *way)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return sum(len(row) - row.count(_NOT_ASKED) for row in self.rows.values())


class RowText(Mapping["int | str", str]):
    """Rows of a table as they were written, each looked for when it is asked for.

    ``text`` is what :meth:`spell` made of rows with ``width`` letters; ``key`` is int for numbers of helpers,
    str for names. A row that does not fit is not there.
    """

    __slots__ = ("_key", "_text", "_width")

    def __init__(self, text: str, width: int, key: type[int] | type[str]) -> None:
        self._text = f"\n{text}"
        self._width = width
        self._key: type[int] | type[str] = key

    @staticmethod
    def spell(rows: Mapping[int | str, str]) -> str:
        """A line for each row: its key, a space, its letters."""
        return "".join(f"{key} {row}\n" for key, row in rows.items())

    def _fits(self, row: str) -> bool:
        return len(row) == self._width and not row.strip("10?.")

    def __getitem__(self, key: int | str) -> str:
        begin = f"\n{key} "
        at = self._text.find(begin) + len(begin)
        if at < len(begin) or not isinstance(key, self._key):
            raise KeyError(key)
        row = self._text[at : self._text.find("\n", at)]
        if not self._fits(row):
            raise KeyError(key)
        return row

    def __iter__(self) -> Iterator[int | str]:
        for line in self._text.splitlines():
            key, _, row = line.partition(" ")
            if key and self._fits(row) and (self._key is str or key.isdecimal()):
                yield self._key(key)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def letter(value: bool | None) -> str:
    """How a row spells this answer."""
    return _LETTERS[value]


def _order(way: Way) -> tuple[int, int, int]:
    kind, attach, sleepable = way
    return kind, -1 if attach is None else attach, -1 if sleepable is None else sleepable
