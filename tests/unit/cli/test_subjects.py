# SPDX-License-Identifier: Apache-2.0
"""What a path on the command line stands for: an object, a bundle, or a folder with other things in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.catalogued import kernel
from tests.elfwriter import ElfWriter

from holdfast.cli.subjects import open_kernels, open_subjects
from holdfast.errors import ObjectFileError, UsageError
from holdfast.kernels.catalogue import Catalogue


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


def test_what_is_damaged_in_the_catalogue_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Catalogue.open()
    store.add(kernel(1))
    (name,) = [row.id for row in store.rows()]
    (tmp_path / "holdfast" / "kernels" / "index.sqlite").write_bytes(b"x")
    assert [one.id for one in open_kernels([name])] == [name]
    assert "note: " in (said := capsys.readouterr().err) and "made again from 1 manifests" in said
    open_kernels([name])
    assert capsys.readouterr().err == ""
