# SPDX-License-Identifier: Apache-2.0
"""TOML whose keys know their lines, so that a complaint can name the line. ``tomllib`` keeps none."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from holdfast.errors import FileError

__all__ = ["LinedTable", "read"]

_MAX_SIZE: Final = 1 << 20  # bytes
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"' -]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*=")
_QUOTES: Final = re.compile(r'"""|\'\'\'')
_LAST_LINE: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.S)

_Fail = Callable[..., FileError]


class LinedTable:
    """One table. Methods raise what ``fail`` makes, with the line of the key or of the table."""

    def __init__(
        self, content: dict[str, Any], line: int, keys: dict[str, int], path: str, fail: _Fail
    ) -> None:
        self.line = line
        self._content, self._keys, self._path, self._make = content, keys, path, fail
        self._read: set[str] = set()

    def fail(self, problem: str, *, key: str | None = None, hint: str | None = None) -> FileError:
        """The error for a problem of this table, or of one of its keys."""
        line = self._keys.get(key, self.line) if key else self.line
        what = f"{key}: {problem}" if key else problem
        return self._make(self._path, what, place=f"line {line}", hint=hint)

    def text(self, key: str, default: str | None = None) -> str:
        """A string that is not empty; ``default`` None means that the key must be there."""
        value = self._value(key, str, "a string", default)
        if key in self._content and not value.strip():
            raise self.fail("an empty string", key=key, hint="write something, or leave the key out")
        return str(value)

    def number(self, key: str) -> int | None:
        """A number that is not negative, None when the key is not there."""
        if key not in self._content:
            self._read.add(key)
            return None
        value = self._value(key, int, "a number", None)
        if isinstance(value, bool) or value < 0:
            raise self.fail(f"a number is wanted, not {value!r}", key=key)
        return int(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings, empty when the key is not there."""
        values = self._value(key, list, "an array of strings", [])
        for value in values:
            if not isinstance(value, str) or not value.strip():
                raise self.fail(f"an array of strings is wanted, not with {value!r} in it", key=key)
        return tuple(values)

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of these words."""
        word = self.text(key, default)
        if word not in choices:
            raise self.fail(f"{word!r} is not known", key=key, hint=f"there are: {', '.join(choices)}")
        return word

    def finish(self) -> None:
        """Refuses keys that were not read."""
        for key in self._content:
            if key not in self._read:
                raise self.fail(
                    f"unknown key {key!r}", key=key, hint=f"there are: {', '.join(sorted(self._read))}"
                )

    def _value(self, key: str, kind: type, what: str, default: Any) -> Any:
        self._read.add(key)
        if key not in self._content:
            if default is None:
                raise self.fail(f"{key!r} is missing", hint=f"it is {what}")
            return default
        value = self._content[key]
        if not isinstance(value, kind):
            raise self.fail(f"{what} is wanted, not {value!r:.40}", key=key)
        return value


def read(
    path: Path, fail: _Fail, *, single: Sequence[str], arrays: Sequence[str]
) -> dict[str, list[LinedTable]]:
    """The tables ``[name]`` of ``single`` and ``[[name]]`` of ``arrays`` in a file, in its order.

    Raises what ``fail(path, problem, place=..., hint=...)`` makes for a file that cannot be read, is no TOML,
    or has anything else at its top level.
    """
    name = str(path)
    text = _load(path, name, fail)
    content = _parse(text, name, fail)
    found: dict[str, list[LinedTable]] = {key: [] for key in (*single, *arrays)}
    lines = list(_tables(text))
    for key, value in content.items():
        at = [(line, keys) for header, line, keys in lines if header == key]
        wanted = value if key in arrays else [value]
        if key not in found or not isinstance(wanted, list) or not all(isinstance(o, dict) for o in wanted):
            first = at[0][0] if at else 1
            heads = ", ".join([*(f"[{one}]" for one in single), *(f"[[{one}]]" for one in arrays)])
            raise fail(name, f"{key!r} is not known here", place=f"line {first}", hint=f"there are: {heads}")
        at += [(at[-1][0] if at else 1, {})] * (len(wanted) - len(at))
        tables = zip(wanted, at, strict=False)
        found[key] = [LinedTable(one, line, keys, name, fail) for one, (line, keys) in tables]
    return found


def _load(path: Path, name: str, fail: _Fail) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_SIZE + 1)
    except OSError as error:
        raise fail(name, error.strerror or str(error)) from None
    if len(data) > _MAX_SIZE:
        raise fail(name, f"larger than {_MAX_SIZE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise fail(name, "not UTF-8", place=f"line {line}") from None


def _parse(text: str, name: str, fail: _Fail) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LAST_LINE.fullmatch(str(error))
        place = f"line {found[2]}" if found and found[2] else "end of the file"
        raise fail(name, f"not TOML: {found[1] if found else error}", place=place) from None
    except RecursionError:
        raise fail(name, "not TOML that can be read: nested too deeply") from None


def _tables(text: str) -> Iterator[tuple[str, int, dict[str, int]]]:
    """Name, line and the lines of the keys of each table, in the file's order; "" is the top level."""
    name, line, keys = "", 1, dict[str, int]()
    quoted = ""
    for number, row in enumerate(text.splitlines(), 1):
        inside = quoted
        for mark in _QUOTES.findall(row):
            quoted = "" if mark == quoted else quoted or mark
        if inside:
            continue
        if header := _HEADER.match(row):
            yield name, line, keys
            name, line, keys = header[2].strip("\"' "), number, {}
        elif key := _KEY.match(row):
            keys.setdefault(key[1].strip("\"'"), number)
    yield name, line, keys
