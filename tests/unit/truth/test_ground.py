# SPDX-License-Identifier: Apache-2.0
"""What users name as kernels: packages at hand, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import KernelFileError, UsageError
from holdfast.kernels import sources
from holdfast.kernels.catalogue import Entry, Shelf
from holdfast.kernels.sources import KernelBuild, OfflineError
from holdfast.truth import ground
from holdfast.truth.ground import grounds


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HOLDFAST_KERNELS", raising=False)
    monkeypatch.setattr(sources, "find", lambda *_: list[KernelBuild]())


def entries(pattern: str) -> list[Entry]:
    return Shelf.open().matching(pattern)


def package_of(entry: Entry, folder: Path) -> Path:
    name, _, version = entry.row.package.partition(" ")
    path = folder / f"{name}_{version}_amd64.deb"
    path.touch()
    return path


def test_folders_come_before_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = entries("debian/6.1.*cloud-amd64") + entries("debian/6.12.107*cloud-amd64")
    (tmp_path / "other").mkdir()
    paths = [package_of(first, tmp_path), package_of(second, tmp_path / "other")]
    monkeypatch.setenv("HOLDFAST_KERNELS", str(paths[1]))  # a package stands for the folder that it is in
    found = grounds([first.id, second.id], [tmp_path])
    assert [one.paths for one in found] == [(paths[0],), (paths[1],)]
    assert [one.row for one in found] == [first.row, second.row]


def test_one_that_is_gone_is_one_line_with_what_to_do() -> None:
    (entry,) = entries("debian/6.12.107*cloud-amd64")
    with pytest.raises(KernelFileError, match="any more") as caught:
        grounds([entry.id])
    assert caught.value.hint is not None and "--packages or HOLDFAST_KERNELS" in caught.value.hint


def test_of_several_those_that_are_gone_keep_the_others_from_nothing(tmp_path: Path) -> None:
    first, *others = entries("debian/6.1*cloud-amd64")
    package_of(first, tmp_path)
    found = {one.id: one for one in grounds(["debian/6.1*cloud-amd64"], [tmp_path])}
    assert found[first.id].paths and not found[first.id].problem
    for other in others:
        assert not found[other.id].paths and "any more" in found[other.id].problem
    with pytest.raises(KernelFileError):
        grounds(["debian/6.1*cloud-amd64"])  # not one of them


def test_without_a_network_nobody_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(*_: object) -> list[KernelBuild]:
        raise OfflineError("no route")

    monkeypatch.setattr(sources, "find", find)
    with pytest.raises(OfflineError):
        grounds(["debian/6.1*cloud-amd64"])


@pytest.mark.parametrize("selector", ["live", "debian/*arm64", "debian/0.0"])
def test_what_cannot_be_booted(selector: str) -> None:
    with pytest.raises(UsageError):
        grounds([selector])


def test_packages_that_stand_for_one_kernel() -> None:
    for package in ("linux-image-7.2-amd64", "linux-binary-7.2-amd64", "linux-image-7.2-amd64-unsigned"):
        assert ground._release_and_version(package, "7.2-1") == ("7.2-amd64", "7.2-1")
    assert ground._release_and_version("linux-binary-unsigned-7.3-amd64", "1") == ("7.3-amd64", "1")
    assert ground._release_and_version("linux-modules-7.2-amd64", "1") is None
