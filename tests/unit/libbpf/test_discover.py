# SPDX-License-Identifier: Apache-2.0
"""The order in which libbpf is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import LibbpfError
from holdfast.libbpf import Candidate, Library, Origin, bundled_version, find


def test_environment_comes_first(tmp_path: Path) -> None:
    chosen, bundled = tmp_path / "mine.so", tmp_path / "bundled.so"
    chosen.touch()
    bundled.touch()
    found = find({"HOLDFAST_LIBBPF": str(chosen)}, bundled=bundled)
    assert (found.origin, found.name) == (Origin.ENVIRONMENT, str(chosen))


def test_environment_that_names_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LibbpfError, match="does not exist") as caught:
        find({"HOLDFAST_LIBBPF": str(tmp_path / "none.so")})
    assert caught.value.hint


def test_bundled_before_system(tmp_path: Path) -> None:
    bundled = tmp_path / "libbpf.so"
    assert find({}, bundled=bundled).origin is Origin.SYSTEM
    bundled.touch()
    assert find({}, bundled=bundled).origin is Origin.BUNDLED


def test_what_is_no_library_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "libbpf.so"
    path.write_bytes(b"not a library")
    with pytest.raises(LibbpfError) as caught:
        Library(Candidate(Origin.ENVIRONMENT, str(path)))
    assert caught.value.hint


def test_a_library_that_is_not_libbpf_is_refused() -> None:
    with pytest.raises(LibbpfError, match="no libbpf"):
        Library(Candidate(Origin.ENVIRONMENT, "libc.so.6"))


def test_bundled_version_is_read_from_its_file(tmp_path: Path) -> None:
    assert bundled_version(tmp_path) is None
    (tmp_path / "VERSION").write_text("version: 1.7.0\npackage: 1.7.0-1\n")
    assert bundled_version(tmp_path) == (1, 7)
