# SPDX-License-Identifier: Apache-2.0
"""Tables read key by key: whatever is wrong is told with its line, its table and its key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from holdfast.errors import FileError
from holdfast.toml.lines import Lines

__all__ = ["Failure", "Table"]

_T = TypeVar("_T")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_NAMES: Final = {bool: "a truth value", int: "a number", str: "a string", list: "an array", dict: "a table"}


class Failure(Protocol):
    """The error that a kind of file is refused with: a class below :class:`~holdfast.errors.FileError`."""

    def __call__(
        self, path: str, problem: str, *, place: str | None = None, hint: str | None = None
    ) -> FileError: ...


class Table:
    """One table of a file. ``place`` is how errors call it, e.g. ``[interface.maps.rss_config]``.

    Every method raises what ``failure`` makes; :meth:`finish` does for unread keys.
    """

    def __init__(
        self,
        path: str,
        failure: Failure,
        content: Mapping[str, Any],
        lines: Lines,
        place: str = "top level",
        dotted: str = "",
    ) -> None:
        self.path = path
        self.place = place
        self._failure = failure
        self._lines = lines
        self._dotted = dotted
        self._content = content
        self._read: dict[str, None] = {}

    @property
    def line(self) -> int:
        """Where it begins; the first is 1."""
        return self._lines.line

    def fail(self, problem: str, *, key: str | None = None, hint: str | None = None) -> FileError:
        """Returns the error for a problem of this table, or of one of its keys."""
        line = self.line if key is None else self._lines.keys.get(key, self.line)
        place = f"{self.place} {key}" if key else self.place
        return self._failure(self.path, problem, place=f"line {line}, {place}", hint=hint)

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def text(self, key: str, default: str | None = None) -> str:
        """Returns a string that is not empty; ``default`` None means that the key must be there."""
        value = self._value(key, str, default)
        if not value.strip() and key in self._content:
            raise self.fail("an empty string", key=key, hint="write something, or leave the key out")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """Returns a number from 0 to 2**32 - 1."""
        value = self._value(key, int, default)
        if not 0 <= value < 1 << 32:
            raise self.fail(f"{value} does not fit 32 bits without sign", key=key)
        return value

    def optional_text(self, key: str) -> str | None:
        """Returns a string that is not empty, None when the key is not there."""
        self._read[key] = None
        return self.text(key) if key in self._content else None

    def optional_number(self, key: str) -> int | None:
        """Returns a number from 0 to 2**32 - 1, None when the key is not there."""
        self._read[key] = None
        return self.number(key) if key in self._content else None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Returns an array of different strings, None when the key is not there."""
        if key not in self._content:
            self._read[key] = None
            return None
        values = self._value(key, list, None)
        seen: set[str] = set()
        for value in values:
            if not isinstance(value, str):
                raise self.fail(f"an array of strings is wanted, not with {_kind(value)} in it", key=key)
            if value in seen:
                raise self.fail(f"{value!r} stands there twice", key=key, hint="leave one out")
            seen.add(value)
        return tuple(values)

    def choice(self, key: str, choices: Mapping[str, _T], default: str | None = None) -> _T:
        """Returns what ``choices`` has under the key's string."""
        name = self.text(key, default)
        if name not in choices:
            raise self.unknown(name, choices, key=key)
        return choices[name]

    def unknown(self, name: str, choices: Mapping[str, object], *, key: str) -> FileError:
        """Returns the error for a word that is none of those allowed, with the one that was likely meant."""
        return self.fail(f"{name!r} is not known", key=key, hint=_did_you_mean(name, choices))

    def table(self, key: str) -> Table:
        """Returns a table inside this one."""
        value = self._value(key, dict, None)
        dotted = f"{self._dotted}.{_quoted(key)}" if self._dotted else _quoted(key)
        return Table(self.path, self._failure, value, self._lines.inside(key), f"[{dotted}]", dotted)

    def optional_table(self, key: str) -> Table | None:
        """Returns a table inside this one, None when the key is not there."""
        self._read[key] = None
        return self.table(key) if key in self._content else None

    def tables_in(self, key: str) -> Iterator[tuple[str, Table]]:
        """Yields what the table ``key`` holds, which must be tables; nothing when it is not there."""
        outer = self.optional_table(key)
        if outer is not None:
            for name in outer._content:
                yield name, outer.table(name)

    def array(self, key: str) -> Iterator[Table]:
        """Yields the tables of ``[[key]]``, in their order."""
        for at, value in enumerate(self._value(key, list, [])):
            place = f"[[{key}]] {at + 1}"
            if not isinstance(value, dict):
                raise self.fail(f"tables are wanted, not {_kind(value)}", key=key)
            if isinstance(value.get("name"), str):
                place += f" ({value['name']!r})"
            yield Table(self.path, self._failure, value, self._lines.inside(key, at), place, key)

    def finish(self) -> None:
        """Refuses keys that were not read."""
        for key in self._content:
            if key not in self._read:
                line = self._lines.keys.get(key, self.line)
                raise self._failure(
                    self.path,
                    f"unknown key {key!r}",
                    place=f"line {line}, {self.place}",
                    hint=_did_you_mean(key, self._read),
                )

    def _value(self, key: str, kind: type[_T], default: _T | None) -> _T:
        self._read[key] = None
        if key not in self._content:
            if default is None:
                raise self.fail(f"{key!r} is missing", hint=f"it is {_NAMES[kind]}")
            return default
        value = self._content[key]
        # bool is an int to isinstance, and not to people
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fail(f"{_NAMES[kind]} is wanted, not {_kind(value)}", key=key)
        return value


def _kind(value: object) -> str:
    return next((name for kind, name in _NAMES.items() if isinstance(value, kind)), type(value).__name__)


def _quoted(key: str) -> str:
    return key if _BARE.fullmatch(key) else f'"{key}"'


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    from difflib import get_close_matches

    folded = {word.lower(): word for word in known}
    near: Sequence[str] = get_close_matches(name.lower(), folded, 1, 0.6)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    return f"there are: {', '.join(known)}" if known else "nothing may stand there"
