# SPDX-License-Identifier: Apache-2.0
"""Archives for a guest's root, read by the reader of the format's other users."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cpioreader import entries

from holdfast.vm.cpio import Archive


@pytest.fixture
def archive() -> Archive:
    made = Archive()
    made.file("/init", b"#!/python\n", 0o755)
    made.file("/a/b/c", b"12345")
    made.link("/lib", "/usr/lib")
    made.device("/dev/console", 5, 1)
    made.folder("/empty", 0o700)
    return made


def test_entries(archive: Archive) -> None:
    assert entries(archive.to_bytes()) == [
        ("init", 0o100755, b"#!/python\n"),
        ("a", 0o40755, b""),
        ("a/b", 0o40755, b""),
        ("a/b/c", 0o100644, b"12345"),
        ("lib", 0o120777, b"/usr/lib"),
        ("dev", 0o40755, b""),
        ("dev/console", 0o20600, b""),
        ("empty", 0o40700, b""),
        ("TRAILER!!!", 0, b""),
    ]


def test_nothing_is_written_twice(archive: Archive) -> None:
    before = archive.to_bytes()
    archive.file("/a/b/c", b"another")
    archive.folder("/a")
    assert archive.to_bytes() == before
    assert "/a/b/c" in archive and "/a/b/d" not in archive


@pytest.mark.parametrize("path", ["init", "/a/../init", "/./a", "/a\0b"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no absolute path"):
        Archive().file(path, b"")


@pytest.mark.oracle
def test_cpio_reads_it(archive: Archive, need_tool: Callable[[str], str], tmp_path: Path) -> None:
    second = Archive()
    second.file("/later", b"x" * 5000)
    for content, names in (
        (archive.to_bytes(), "init a a/b a/b/c lib dev dev/console empty"),
        (second.to_bytes(), "later"),
    ):
        done = subprocess.run(
            [need_tool("cpio"), "--list", "--quiet"],
            input=content,
            capture_output=True,
            cwd=tmp_path,
            check=True,
        )
        assert done.stdout.decode().split() == names.split()
