# SPDX-License-Identifier: Apache-2.0
"""What a path on the command line stands for: an object, a bundle, or a folder with other things in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.elfwriter import ElfWriter

from holdfast.cli.subjects import open_subjects
from holdfast.errors import ObjectFileError, UsageError


def elf(machine: int) -> bytes:
    writer = ElfWriter(machine=machine)
    writer.program("prog", "socket")
    writer.license()
    return writer.bytes()


def test_of_a_build_tree_the_objects_for_bpf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "ours.bpf.o").write_bytes(elf(247))
    (tmp_path / "main.o").write_bytes(elf(62))
    (tmp_path / "folder.o").mkdir()
    (tmp_path / "broken.o").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.o")
    objects, bundles = open_subjects([str(tmp_path)])
    assert [Path(one.path).name for one in objects] == ["ours.bpf.o"]
    assert bundles == []
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"note: {tmp_path}: 1 of 2 objects are not for BPF and are left out\n")


def test_a_damaged_object_in_a_folder_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "cut.o").write_bytes(elf(247)[:80])
    with pytest.raises(ObjectFileError, match=r"cut\.o"):
        open_subjects([str(tmp_path)])


def test_a_folder_without_objects_for_bpf(tmp_path: Path) -> None:
    (tmp_path / "main.o").write_bytes(elf(62))
    with pytest.raises(UsageError, match="has no objects in it"):
        open_subjects([str(tmp_path)])


def test_what_is_named_itself_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "main.o").write_bytes(elf(62))
    with pytest.raises(ObjectFileError, match="machine 62, not for BPF"):
        open_subjects([str(tmp_path / "main.o")])
