# SPDX-License-Identifier: Apache-2.0
"""Objects alone, in folders and in bundles, each content once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.elfwriter import RETURN_0, ElfWriter

from holdfast.errors import ObjectFileError, UsageError
from holdfast.truth.subject import subjects


def written(path: Path, *programs: str) -> Path:
    elf = ElfWriter()
    for name in programs:
        elf.program(name, "socket", RETURN_0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(elf.bytes())
    return path


def test_a_content_counts_once(tmp_path: Path) -> None:
    one = written(tmp_path / "a/one.o", "p")
    written(tmp_path / "a/deep/copy.o", "p")
    written(tmp_path / "a/two.o", "q")
    found = subjects([one, tmp_path / "a"])
    assert [Path(subject.name).name for subject in found] == ["one.o", "two.o"]
    assert [subject.load.programs for subject in found] == [("p",), ("q",)]
    assert found[0].load.content == one.read_bytes()


def test_what_cannot_be_a_subject(tmp_path: Path) -> None:
    with pytest.raises(ObjectFileError, match="cannot be read"):
        subjects([tmp_path / "absent.o"])
    with pytest.raises(UsageError, match="no objects in"):
        subjects([tmp_path])
