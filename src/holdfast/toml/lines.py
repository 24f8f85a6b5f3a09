# SPDX-License-Identifier: Apache-2.0
"""Where the tables and keys of a TOML text stand. ``tomllib`` tells the lines of syntax errors alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Lines", "find_lines"]

_PART: Final = r"(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')"
_DOTTED: Final = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(rf"\s*({_DOTTED})\s*=")
_EACH_PART: Final = re.compile(_PART)
_NO_CODE: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|#.*")
_QUOTES: Final = re.compile(r'"""|\'\'\'')


@dataclass(slots=True)
class Lines:
    """Where a table begins, and its keys; a key's line is that of the table or array that it names, if any.

    ``below`` has the tables inside that have a header of their own, those of an array in their order.
    """

    line: int
    keys: dict[str, int] = field(default_factory=dict)
    below: dict[str, list[Lines]] = field(default_factory=dict)

    def inside(self, key: str, at: int = 0) -> Lines:
        """Returns those of a table inside, number ``at`` of an array; for an inline one, its key's line."""
        found = self.below.get(key, [])
        return found[at] if at < len(found) else Lines(self.keys.get(key, self.line))


def find_lines(text: str) -> Lines:
    """Returns the lines of a text that ``tomllib`` has read without complaint. Lines count from 1."""
    root = table = Lines(1)
    depth = 0  # of arrays that go over several lines
    for number, row in _outside_strings(text):
        header = _HEADER.match(row) if not depth else None
        if header:
            *above, last = _parts(header[2])
            table = root
            for key in above:
                table.keys.setdefault(key, number)
                table = table.below.setdefault(key, [Lines(number)])[-1]
            table.keys.setdefault(last, number)
            tables = table.below.setdefault(last, [])
            # A table may come after those inside it, which have made an entry for it.
            if header[1] == "[[" or not tables:
                tables.append(Lines(number))
            table = tables[-1]
            table.line = number
            continue
        if not depth and (key_row := _KEY.match(row)):
            table.keys.setdefault(_parts(key_row[1])[0], number)
        bare = _NO_CODE.sub("", row)
        depth = max(0, depth + bare.count("[") - bare.count("]"))
    return root


def _parts(dotted: str) -> list[str]:
    """The words of a dotted name. Escapes are left as they are: who writes them is told the table's line."""
    return [word[1:-1] if word[0] in "\"'" else word for word in _EACH_PART.findall(dotted)]


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Yields the lines, with their numbers, that do not begin inside a string of several lines."""
    quoted = ""
    for number, row in enumerate(text.split("\n"), 1):
        inside = quoted
        for mark in _QUOTES.findall(row):
            quoted = "" if mark == quoted else quoted or mark
        if not inside:
            yield number, row
