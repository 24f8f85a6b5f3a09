# SPDX-License-Identifier: Apache-2.0
"""The documents as tests read them: tables under headings, and fenced blocks with the note before them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COMMENT = re.compile(r"<!-- (.*?) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; ``note`` is the HTML comment on the line before it, ``line`` is its first."""

    document: str
    line: int
    language: str
    note: str
    text: str

    @property
    def label(self) -> str:
        return f"{self.document}:{self.line}"


def text_of(document: str) -> str:
    """A document, by its path from the top of the checkout."""
    return (ROOT / document).read_text()


def blocks(document: str, language: str) -> list[Block]:
    """All fenced blocks of that language."""
    return [block for block in _blocks(document) if block.language == language]


def _blocks(document: str) -> Iterator[Block]:
    note, language, start, content = "", "", 0, list[str]()
    inside = False
    for number, line in enumerate(text_of(document).splitlines(), 1):
        if line.startswith("```"):
            if inside:
                yield Block(document, start, language, note, "\n".join(content) + "\n")
                note = ""
            else:
                language, start, content = line[3:].strip(), number + 1, []
            inside = not inside
        elif inside:
            content.append(line)
        elif line.strip():
            found = _COMMENT.fullmatch(line.strip())
            note = found[1] if found else ""


def sections(document: str) -> dict[str, str]:
    """Text by heading, of whatever level; blocks are part of it."""
    found: dict[str, list[str]] = {}
    heading, inside = "", False
    for line in text_of(document).splitlines():
        inside ^= line.startswith("```")
        if not inside and (head := re.match(r"#+ (.+)", line)):
            heading = head[1]
            found[heading] = []
        elif heading:
            found[heading].append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def table(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its head."""
    rows = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def names(cell: str) -> list[str]:
    """What stands in backticks in a cell or a line."""
    return re.findall(r"`([^`]+)`", cell)
