# SPDX-License-Identifier: Apache-2.0
"""Shared libraries found by reading, held against the dynamic linker."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.vm.libraries import cached_libraries, read_dynamic, stripped, with_libraries

PYTHON = Path(sys.executable).resolve()


@pytest.mark.oracle
def test_the_linker_opens_the_same(need_tool: Callable[[str], str]) -> None:
    extension = next(one for folder in _extension_folders() for one in folder.glob("_ctypes.*.so"))
    for path in (PYTHON, extension):
        said = subprocess.run(
            [need_tool("ldd"), str(path)], capture_output=True, text=True, check=True
        ).stdout
        opened = {Path(one).resolve() for one in re.findall(r"(/\S+) \(0x", said)}
        found = {one.resolve() for one in with_libraries([path])} - {path}
        assert found == opened


def test_a_stripped_program_runs(tmp_path: Path) -> None:
    true = Path("/bin/true").resolve()
    smaller = tmp_path / "true"
    smaller.write_bytes(stripped(true.read_bytes()))
    smaller.chmod(0o755)
    assert smaller.stat().st_size < true.stat().st_size
    assert subprocess.run([smaller], check=False).returncode == 0


def test_search_path_of_the_file() -> None:
    data = elf(needed=["libx.so.1", "liby.so"], runpath="$ORIGIN/../lib:/opt/lib")
    found = read_dynamic(data, "/usr/libexec")
    assert found is not None
    assert found.needed == ("libx.so.1", "liby.so")
    assert found.search == ("/usr/libexec/../lib", "/opt/lib")
    assert found.interpreter == ""


def test_what_is_no_elf_file() -> None:
    assert read_dynamic(b"#!/bin/sh\n") is None
    assert stripped(b"#!/bin/sh\n") == b"#!/bin/sh\n"


@given(st.integers(0, 400), st.integers(0, 255))
def test_damaged_files_are_read_without_a_crash(at: int, value: int) -> None:
    data = bytearray(elf(needed=["libx.so.1"], runpath="/opt/lib"))
    data[at % len(data)] = value
    for content in (bytes(data), bytes(data[:at])):
        read_dynamic(content)
        stripped(content)


def test_a_damaged_cache_is_no_cache(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    assert cached_libraries(path) == {}
    for content in (b"", b"glibc-ld.so.cache1.1", b"glibc-ld.so.cache1.1" + b"\xff" * 60):
        path.write_bytes(content)
        assert cached_libraries(path) == {}


def test_the_cache_of_this_machine() -> None:
    if not Path("/etc/ld.so.cache").exists():
        pytest.skip("this machine's linker has no cache")
    assert Path(cached_libraries()["libc.so.6"]).exists()


def _extension_folders() -> list[Path]:
    return [Path(folder) for folder in sys.path if folder.endswith("lib-dynload")]


def elf(*, needed: list[str], runpath: str) -> bytes:
    """Return an ELF file with nothing but a dynamic section."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in [*needed, runpath])
    offsets = {name: strings.index(name.encode() + b"\0") for name in [*needed, runpath]}
    rows = [(1, offsets[name]) for name in needed] + [(29, offsets[runpath])]
    start = 64 + 2 * 56
    table = start + 16 * (len(rows) + 2)
    dynamic = b"".join(struct.pack("<qQ", *row) for row in [*rows, (5, 0x10000 + table), (0, 0)])
    size = table + len(strings)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0x10000, 0, size, size, 4096)
    dyn = struct.pack("<IIQQQQQQ", 2, 4, start, 0x10000 + start, 0, len(dynamic), len(dynamic), 8)
    return head + load + dyn + dynamic + strings
