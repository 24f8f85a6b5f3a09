# SPDX-License-Identifier: Apache-2.0
"""The file of rows: what is written is read again, and damage is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.truth.rows import Truth, TruthFileError, TruthRow, read, write
from holdfast.truth.words import WordsClass

A, B = "a" * 64, "b" * 64
LOADS = TruthRow(A, "debian/6.1", "libbpf-1.7.0", "one", True, None, WordsClass.LOADED, 7)
FAILS = TruthRow(B, "debian/6.1", "libbpf-1.7.0", "two", False, 22, WordsClass.KFUNC)
NAMES = {A: "a.o", B: "b.o"}


def test_a_file_comes_back_whatever_the_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    write(path, Truth().with_rows([FAILS, LOADS], NAMES))
    first = path.read_bytes()
    write(path, Truth().with_rows([LOADS, FAILS], NAMES))
    assert path.read_bytes() == first
    assert read(path).rows == {LOADS.key: LOADS, FAILS.key: FAILS}
    assert read(path).names == NAMES
    assert [one for one in tmp_path.iterdir() if one != path] == []


def test_a_new_row_takes_the_place_of_the_old() -> None:
    now = TruthRow(*LOADS.key[:1], "debian/6.1", "libbpf-1.7.0", "one", False, 13, WordsClass.VERIFIER)
    truth = Truth().with_rows([LOADS], NAMES).with_rows([now], {})
    assert list(truth.of(A, "debian/6.1")) == [now]


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "absent").rows == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("R\tbbbb", "line 3"),
        ("X", "begins with 'X'"),
        (f"R\t{'a' * 16}\tk\tl\tp\tmaybe\t-\tloaded\t-", "'maybe' is neither yes nor no"),
        (f"R\t{'a' * 16}\tk\tl\tp\tyes\t-\tno such class\t-", "no such class"),
        (f"R\t{'c' * 16}\tk\tl\tp\tyes\t-\tloaded\t-", "line 3"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(f"# holdfast truth 1\nO\t{A}\ta.o\n{line}\n")
    with pytest.raises(TruthFileError, match=said):
        read(path)
    path.write_text("# something else\n")
    with pytest.raises(TruthFileError, match="does not begin with"):
        read(path)
