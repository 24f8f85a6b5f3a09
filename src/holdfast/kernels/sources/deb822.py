# SPDX-License-Identifier: Apache-2.0
"""Stanzas of ``Field: value`` lines, the format of Release, Packages, Sources and apt's .sources files.

deb822(5); Debian Policy, chapter 5.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Digest", "checksums", "stanza", "stanzas"]


@dataclass(frozen=True, slots=True)
class Digest:
    """What an index says of a file: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


def stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield each stanza as {field in lower case: value}.

    Lines of a value that goes on are joined by line feeds, without their leading blank. Comments and lines
    that are neither a field nor go on with one are passed over.
    """
    fields: dict[str, str] = {}
    last = ""
    for line in lines:
        line = line.rstrip("\r\n")
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] == "#":
            continue
        elif line[0] in " \t":
            if last:
                fields[last] += "\n" + line[1:]
        else:
            name, colon, value = line.partition(":")
            last = name.strip().lower() if colon else ""
            if last:
                fields[last] = value.strip()
    if fields:
        yield fields


def stanza(text: str) -> dict[str, str]:
    """Return the first stanza of a text, empty when it has none."""
    return next(stanzas(text.splitlines()), {})


def checksums(value: str) -> dict[str, Digest]:
    """Return {file name: digest} of a field like ``Checksums-Sha256``; odd lines are passed over."""
    found = {}
    for line in value.splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdecimal() and len(words[0]) == 64:
            found[words[2]] = Digest(int(words[1]), words[0].lower())
    return found
