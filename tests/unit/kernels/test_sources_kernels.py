# SPDX-License-Identifier: Apache-2.0
"""Which packages make up a kernel: whole and split ones, metapackages, signed and unsigned, Ubuntu's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.debarchive import DebArchive

from holdfast.kernels.sources import KernelBuild, MissingError, kernel_builds, packages
from holdfast.kernels.sources.apt import AptConfig
from holdfast.kernels.sources.deb822 import Digest
from holdfast.kernels.sources.distribution import DISTRIBUTIONS
from holdfast.kernels.sources.suite import Release, Suite
from holdfast.kernels.sources.transfer import Fetcher


class Shelf(DebArchive):
    """An archive whose suite is read from a folder, as one that was fetched before."""

    def suite(self, folder: Path, distribution: str = "debian") -> Suite:
        self.publish("trixie", None, packing="")
        digests: dict[str, Digest] = {}
        text = self.files["dists/trixie/main/binary-amd64/Packages"]
        digests["main/binary-amd64/Packages"] = _keep(folder, text)
        release = Release("Debian", "stable", "trixie", ("amd64", "arm64"), False, None, digests)
        nowhere = Fetcher(AptConfig((), {}, Path("/")))
        return Suite("trixie", DISTRIBUTIONS[distribution], "http://m.invalid/d", release, nowhere, folder)


def _keep(folder: Path, text: bytes) -> Digest:
    import hashlib

    digest = Digest(len(text), hashlib.sha256(text).hexdigest())
    (folder / "indexes").mkdir(exist_ok=True)
    (folder / "indexes" / digest.sha256).write_bytes(text)
    return digest


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def find(shelf: Shelf, folder: Path, pattern: str = "*", distribution: str = "debian") -> list[KernelBuild]:
    return kernel_builds(shelf.suite(folder, distribution), "amd64", pattern)


def summary(build: KernelBuild) -> tuple[str, str, list[str], list[str]]:
    names = [one.name for one in build.packages]
    return build.name, build.release, names, [one.name for one in build.unlisted]


def add_split(shelf: Shelf, release: str, number: str, *, modules: bool = True) -> None:
    exact = f"(= {number})"
    depends = f"linux-base-{release} {exact}, linux-binary-{release} {exact}, linux-modules-{release} {exact}"
    signed: Mapping[str, str] = {"Source": f"linux-signed-amd64 ({number.replace('-', '+', 1)})"}
    shelf.package(
        f"linux-image-{release}", number, Pre_Depends="linux-base (>= 4.17~)", Depends=depends, **signed
    )
    shelf.package(f"linux-binary-{release}", number, Depends=f"linux-base-{release} {exact}", **signed)
    if modules:
        for part in ("base", "modules"):
            shelf.package(f"linux-{part}-{release}", number, Source="linux")


def test_a_whole_image_needs_nothing_beside_it(shelf: Shelf, tmp_path: Path) -> None:
    depends = "kmod, linux-base-6.18.1-amd64 (= 6.18.1-1)"  # has only documents
    shelf.package("linux-image-6.18.1-amd64", "6.18.1-1", Depends=depends)
    shelf.package("linux-image-6.18.1-amd64-dbg", "6.18.1-1")
    shelf.package("linux-image-amd64-signed-template", "6.18.1-1")
    shelf.package("linux-image-6.18-amd64-signed-template", "6.18.1-1")
    (build,) = find(shelf, tmp_path)
    name = "linux-image-6.18.1-amd64"
    assert summary(build) == (name, "6.18.1-amd64", [name], [])
    assert build.size == len(f"{name} 6.18.1-1 ") * 2000


def test_a_split_kernel_has_its_parts(shelf: Shelf, tmp_path: Path) -> None:
    add_split(shelf, "7.2.1-amd64", "7.2.1-1~bpo13+1")
    (build,) = find(shelf, tmp_path, "linux-image-7*")
    parts = [f"linux-{part}-7.2.1-amd64" for part in ("image", "base", "binary", "modules")]
    assert summary(build) == (parts[0], "7.2.1-amd64", parts, [])
    assert (build.source, build.source_version) == ("linux", "7.2.1-1~bpo13+1")


def test_parts_that_no_index_has_are_told(shelf: Shelf, tmp_path: Path) -> None:
    add_split(shelf, "7.0.1-amd64", "7.0.1-1", modules=False)
    shelf.package("linux-base-7.0.1-amd64", "7.0.1-0")  # of another build
    (build,) = find(shelf, tmp_path)
    gone = [f"linux-{part}-7.0.1-amd64_7.0.1-1_amd64.deb" for part in ("base", "modules")]
    assert summary(build)[2:] == (["linux-image-7.0.1-amd64", "linux-binary-7.0.1-amd64"], gone)
    assert build.unlisted[0].address == f"http://m.invalid/d/pool/main/l/linux/{gone[0]}"
    assert build.unlisted[0].digest is None


def test_a_binary_whose_image_is_not_signed_yet(shelf: Shelf, tmp_path: Path) -> None:
    shelf.package(
        "linux-binary-unsigned-7.3.4-amd64", "7.3.4-1", Depends="linux-base-7.3.4-amd64 (= 7.3.4-1)"
    )
    for part in ("base", "modules"):
        shelf.package(f"linux-{part}-7.3.4-amd64", "7.3.4-1")
    for pattern in ("*", "7.3*", "linux-binary-*"):
        (build,) = find(shelf, tmp_path, pattern)
        parts = ["linux-binary-unsigned-7.3.4-amd64", "linux-base-7.3.4-amd64", "linux-modules-7.3.4-amd64"]
        assert build.release == "7.3.4-amd64"
        assert sorted(one.name for one in build.packages) == sorted(parts)


def test_a_metapackage_stands_for_the_real_one(shelf: Shelf, tmp_path: Path) -> None:
    shelf.package("linux-image-6.12.1-amd64", "6.12.1-1")
    shelf.package("linux-image-6.12-amd64", "6.12.1-1", Depends="linux-image-6.12.1-amd64 (= 6.12.1-1)")
    shelf.package("linux-image-amd64", "6.12.1-1", Depends="linux-image-6.12-amd64 (= 6.12.1-1)")
    for pattern in ("linux-image-amd64", "linux-image-6.12-amd64", "*"):
        (build,) = find(shelf, tmp_path, pattern)
        assert build.name == "linux-image-6.12.1-amd64"


def test_a_metapackage_of_nothing_is_no_kernel(shelf: Shelf, tmp_path: Path) -> None:
    shelf.package("linux-image-amd64", "1", Depends="linux-image-9-amd64 (= 1)")
    shelf.package("linux-image-rt-amd64", "1", Depends="linux-image-rt2-amd64")
    shelf.package("linux-image-rt2-amd64", "1", Depends="linux-image-rt-amd64")  # a circle
    with pytest.raises(MissingError, match="no kernel package"):
        find(shelf, tmp_path)


def test_the_signed_one_comes_first_unless_the_other_is_named(shelf: Shelf, tmp_path: Path) -> None:
    shelf.package("linux-image-6.1.0-5-amd64-unsigned", "6.1.5-1", Source="linux")
    shelf.package("linux-image-6.1.0-5-amd64", "6.1.5-1", Source="linux-signed-amd64 (6.1.5+1)")
    (build,) = find(shelf, tmp_path, "linux-image-6.1*")
    assert build.name == "linux-image-6.1.0-5-amd64"
    (build,) = find(shelf, tmp_path, "*-unsigned")
    assert (build.name, build.release) == ("linux-image-6.1.0-5-amd64-unsigned", "6.1.0-5-amd64")


def test_ubuntus_modules_come_along(shelf: Shelf, tmp_path: Path) -> None:
    release = "6.8.0-9-generic"
    shelf.package(
        f"linux-image-unsigned-{release}",
        "6.8.0-9.9",
        Depends=f"kmod, linux-modules-{release}",
        Source="linux",
    )
    shelf.package(f"linux-modules-{release}", "6.8.0-9.9")
    shelf.package(f"linux-modules-extra-{release}", "6.8.0-9.9")
    shelf.package("linux-image-generic", "6.8.0.9", Depends=f"linux-image-unsigned-{release} (= 6.8.0-9.9)")
    (build,) = find(shelf, tmp_path, "linux-image-generic", "ubuntu")
    parts = [f"linux-{part}-{release}" for part in ("image-unsigned", "modules", "modules-extra")]
    assert summary(build) == (parts[0], release, parts, [])


def test_the_newest_build_of_a_name_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    for number in ("6.12.9-1", "6.12.10-1", "6.12.10-1~bpo1"):
        shelf.package("linux-image-6.12-amd64", number)
    assert [build.version for build in find(shelf, tmp_path)] == ["6.12.10-1"]


def test_kernels_come_oldest_first_and_the_pattern_may_name_a_release(shelf: Shelf, tmp_path: Path) -> None:
    for number in ("6.9.1", "6.12.1", "6.2.1"):
        shelf.package(f"linux-image-{number}-amd64", f"{number}-1")
        shelf.package(f"linux-image-{number}-cloud-amd64", f"{number}-1")
    assert [build.release for build in find(shelf, tmp_path, "*-cloud-*")] == [
        "6.2.1-cloud-amd64",
        "6.9.1-cloud-amd64",
        "6.12.1-cloud-amd64",
    ]
    assert [build.release for build in find(shelf, tmp_path, "6.9*")] == ["6.9.1-amd64", "6.9.1-cloud-amd64"]
    with pytest.raises(MissingError, match=r"matches '6\.8\*'") as caught:
        find(shelf, tmp_path, "6.8*")
    assert "linux-image-6.12.1-cloud-amd64" in (caught.value.hint or "")


def test_names_match_whole_and_the_package_need_not_come_first(shelf: Shelf, tmp_path: Path) -> None:
    for name in ("bpftool", "bpftool-dbg", "libbpftool"):
        shelf.package(name, "1")
    shelf._binary.append(("amd64", "Tag: odd\n" + shelf._binary.pop(0)[1]))
    found = packages(shelf.suite(tmp_path), "amd64", ["bpftool", "nothing"])
    assert [one.name for one in found] == ["bpftool"]
