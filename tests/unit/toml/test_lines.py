# SPDX-License-Identifier: Apache-2.0
"""Where tables and keys stand, in every way that TOML lets them be written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import FileError
from holdfast.toml import read_toml
from holdfast.toml.lines import Lines, find_lines


def at(text: str, *path: str | int) -> int:
    """The line of what ``path`` names: words for tables and keys, numbers for places of an array."""
    tomllib.loads(text)
    lines: Lines = find_lines(text)
    *tables, key = path
    words = list(tables)
    while words:
        word = words.pop(0)
        number = words.pop(0) if words and isinstance(words[0], int) else 0
        assert isinstance(word, str) and isinstance(number, int)
        lines = lines.inside(word, number)
    return lines.keys.get(str(key), lines.line)


TEXT = """\
top = 1 # a comment

[one]
"quoted key" = 2
'also [this]' = 3
a.b = 4
inline = { x = 1, y = [1] }

[[many]]
name = "first"
[many.inside]
deep = true
[[many]]
name = "second"

[ far . "off, here" . last ]
key = 5
[far]
near = 6
[far."off, here"]
between = 7
[after]
text = \"\"\"
[not]
a = 1
\"\"\"
end = '''one line'''
last = 8
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("one",), 3),
        (("one", "quoted key"), 4),
        (("one", "also [this]"), 5),
        (("one", "a"), 6),
        (("one", "a", "b"), 6),
        (("one", "inline", "y"), 7),
        (("many", "name"), 10),
        (("many", 0, "inside", "deep"), 12),
        (("many", 1, "name"), 14),
        (("many", 1, "missing"), 13),
        (("far",), 16),
        (("far", "missing"), 18),
        (("far", "near"), 19),
        (("far", "off, here", "between"), 21),
        (("far", "off, here", "last", "key"), 17),
        (("after", "text"), 23),
        (("after", "a"), 22),
        (("after", "end"), 27),
        (("after", "last"), 28),
        (("nowhere",), 1),
    ],
)
def test_where_it_stands(path: tuple[str | int, ...], line: int) -> None:
    assert at(TEXT, *path) == line


WORD = st.text("abc", min_size=1, max_size=2)


@given(
    st.lists(st.lists(WORD, min_size=1, max_size=3), min_size=1, max_size=5),
    st.data(),
)
def test_a_key_is_found_below_every_header(headers: list[list[str]], data: st.DataObject) -> None:
    """Each table gets a key that nothing else has, behind blank lines: its line is the one that is told."""
    rows: list[str] = []
    wanted: list[tuple[tuple[str, ...], str, int]] = []
    for number, header in enumerate(headers):
        rows += [""] * data.draw(st.integers(0, 2))
        rows.append("[" + ".".join(header) + "]")
        rows.append(f"key-{number} = 1")
        wanted.append((tuple(header), f"key-{number}", len(rows)))
    text = "\n".join(rows)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # the same header twice
    for path, key, line in wanted:
        assert at(text, *path, key) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = [\n  [1],\n  [2]\n]\nlast = 1\n", 5),
        ('"a\\"b" = 1\nlast = 1\n', 2),
        ("x = 1\r\nlast = 2\r\n", 2),
        ('x = """\nlast = 1\n"""\nlast = 1\n', 4),
    ],
)
def test_odd_ways_of_writing(tmp_path: Path, text: str, line: int) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(text.encode())
    with pytest.raises(FileError, match=f"line {line}, top level last: a string is wanted"):
        read_toml(file, FileError, hint="none").text("last")


def test_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("x = " + "9" * 5000)
    with pytest.raises(FileError, match="a number of thousands of digits"):
        read_toml(file, FileError, hint="none")
