# SPDX-License-Identifier: Apache-2.0
"""Carving BPF objects out of files."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


def load_script(name: str) -> ModuleType:
    path = ROOT / "scripts" / name
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_").removesuffix(".py"), str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


fetch_corpus = load_script("fetch-corpus")


def bpf_object(
    order: str = "<", machine: int = 247, payload: bytes = b"payload!", table_last: bool = True
) -> bytes:
    """An ELF64 object of two sections, its header table at the end or in front of the data."""
    table = 64 + (len(payload) if table_last else 0)
    data = 64 if table_last else 64 + 3 * 64
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    fields = (1, machine, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 0)
    header = ident + struct.pack(f"{order}HHIQQQIHHHHHH", *fields)
    rows = bytes(64)
    rows += struct.pack(f"{order}IIQQQQIIQQ", 0, 1, 0, 0, data, len(payload), 0, 0, 1, 0)
    rows += struct.pack(f"{order}IIQQQQIIQQ", 0, 8, 0, 0, data, 1 << 40, 0, 0, 1, 0)  # NOBITS takes no room
    return header + (payload + rows if table_last else rows + payload)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("table_last", [True, False])
def test_objects_of_both_byte_orders_are_found_where_they_lie(order: str, table_last: bool) -> None:
    wanted = bpf_object(order, table_last=table_last)
    blob = bpf_object(machine=62) + b"\x7fELF" + wanted + b"rest" + wanted[:-1]
    assert list(fetch_corpus.bpf_objects(blob)) == [wanted]


@pytest.mark.parametrize("size", [0, 5, 6, 63, 64, 100])
def test_a_cut_object_is_none(size: int) -> None:
    assert list(fetch_corpus.bpf_objects(bpf_object()[:size])) == []


def test_carve_writes_equal_objects_once_and_knows_them_again(tmp_path: Path) -> None:
    tree, folder = tmp_path / "tree", tmp_path / "corpus"
    (tree / "usr").mkdir(parents=True)
    folder.mkdir()
    first, second = bpf_object(), bpf_object(payload=b"another!")
    (tree / "usr" / "tool").write_bytes(b"\0" * 3 + first + second + first)
    (tree / "usr" / "x.bpf.o").write_bytes(second)
    (tree / "usr" / "link").symlink_to("tool")
    names = fetch_corpus.carve(tree, folder, "sid.p")
    assert names == ["sid.p__tool.o", "sid.p__tool.1.o"]
    assert fetch_corpus.carve(tree, folder, "sid.p") == names
    assert [(folder / name).read_bytes() for name in names] == [first, second]
    assert len(list(folder.iterdir())) == 2


def test_complete_means_every_listed_object_is_there(tmp_path: Path) -> None:
    listed = tmp_path / ".done"
    assert not fetch_corpus.is_complete(tmp_path, listed)
    listed.write_text("a.o\n")
    assert not fetch_corpus.is_complete(tmp_path, listed)
    (tmp_path / "a.o").touch()
    assert fetch_corpus.is_complete(tmp_path, listed)


def test_what_apt_has_no_archive_for_is_one_line_and_the_objects_stay(tmp_path: Path) -> None:
    (tmp_path / "a.o").touch()
    (tmp_path / "apt.conf").write_text(f'Dir::Etc "{tmp_path}/none";\n')
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fetch-corpus"), "--into", str(tmp_path), "sid:bpftool"],
        env={**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("fetch-corpus: ")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "a.o").exists()


def test_a_wrong_word_is_a_usage_error() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "fetch-corpus"), "udev-hid-bpf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not SUITE:PACKAGE: udev-hid-bpf" in done.stderr
