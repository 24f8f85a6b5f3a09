# SPDX-License-Identifier: Apache-2.0
"""Kernels named by ids and globs, in the built-in catalogue and the user's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.catalogued import kernel

from holdfast.errors import UsageError
from holdfast.kernels import catalogue
from holdfast.kernels.catalogue import Catalogue, Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    first, second = Catalogue.open(tmp_path / "builtin"), Catalogue.open(tmp_path / "user")
    for number in (9, 10, 1):
        first.add(kernel(number))
    second.add(replace(kernel(2), id=kernel(9).id))
    second.add(replace(kernel(2), id="file/6.2", source="file"))
    first.read_only = True
    return Shelf([first, second])


def ids(shelf: Shelf, *selectors: str) -> list[str]:
    return [entry.id for entry in shelf.find(selectors)]


def test_the_oldest_release_comes_first(shelf: Shelf) -> None:
    assert [entry.row.release for entry in shelf.entries()] == [
        "6.1.0-amd64",
        "6.2.0-amd64",
        "6.10.0-amd64",
        "6.2.0-amd64",
    ]


def test_ids_and_globs(shelf: Shelf) -> None:
    assert ids(shelf, "debian/6.10.0-amd64") == ["debian/6.10.0-amd64"]
    assert ids(shelf, "debian/6.1*") == ["debian/6.1.0-amd64", "debian/6.10.0-amd64"]
    assert ids(shelf, "file/*", "*") == [
        "file/6.2",
        "debian/6.1.0-amd64",
        "debian/6.9.0-amd64",
        "debian/6.10.0-amd64",
    ]
    assert ids(shelf) == []


def test_an_id_that_reads_like_a_glob(tmp_path: Path) -> None:
    store = Catalogue.open(tmp_path / "store")
    store.add(replace(kernel(), id="file/a[1]"))
    assert ids(Shelf([store]), "file/a[1]") == ["file/a[1]"]


def test_the_users_counts(shelf: Shelf) -> None:
    [entry] = shelf.find(["debian/6.9.0-amd64"])
    assert entry.row.release == "6.2.0-amd64"
    assert not entry.is_builtin
    assert entry.record().release == "6.2.0-amd64"
    assert entry.facts().has_func("function_21").value
    assert shelf.find(["debian/6.1.0-amd64"])[0].is_builtin


def test_a_selector_that_names_nothing(shelf: Shelf) -> None:
    with pytest.raises(UsageError, match=r"no kernel 'debian/6\.11\.0-amd64'") as caught:
        shelf.find(["debian/6.11.0-amd64"])
    assert "debian/6.10.0-amd64" in str(caught.value.hint)
    with pytest.raises(UsageError) as caught:
        shelf.find(["zzz"])
    assert "kernels list" in str(caught.value.hint)


def test_both_at_their_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    Catalogue.open().add(replace(kernel(), id="file/mine"))
    assert [entry.id for entry in catalogue.find(["file/mine"])] == ["file/mine"]
