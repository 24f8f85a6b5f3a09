# SPDX-License-Identifier: Apache-2.0
"""Unpacked kernels are kept, and are not believed where they are not whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.vm.test_kernel import vmlinux

from holdfast.truth import unpacked
from holdfast.truth.unpacked import boot_kernel
from holdfast.vm.kernel import BootKernel


@dataclass(frozen=True)
class Module:
    name: str
    path: str
    data: bytes

    def read(self) -> bytes:
        return self.data


MODULES = (
    Module("conn", "conn.ko", b"\0depends=base\0conn"),
    Module("base", "base.ko", b"\0depends=\0base"),
    Module("other", "other.ko", b"\0depends=\0other"),
)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    found: list[Path] = []

    def from_path(path: Path, *, parts: object) -> BootKernel:
        found.append(path)
        return BootKernel("6.12", vmlinux(18), None, "CONFIG_X=y", MODULES)

    monkeypatch.setattr(BootKernel, "from_path", from_path)
    return found


def test_a_kernel_is_unpacked_once(tmp_path: Path, reads: list[Path]) -> None:
    paths = [tmp_path / "a.deb"]
    first = boot_kernel(paths, ["conn"], b"x" * 16, tmp_path)
    again = boot_kernel(paths, ["conn"], b"x" * 16, tmp_path)
    assert len(reads) == 1
    assert isinstance(again.vmlinux, Path) and again.vmlinux.read_bytes() == first.vmlinux
    assert (again.release, again.config) == ("6.12", "CONFIG_X=y")
    assert {one.name: one.read() for one in again.modules} == {one.name: one.data for one in MODULES[:2]}


def test_a_module_more_is_fetched_from_the_package(tmp_path: Path, reads: list[Path]) -> None:
    boot_kernel([tmp_path], ["conn"], b"x", tmp_path)
    boot_kernel([tmp_path], ["other"], b"x", tmp_path)
    assert {one.name for one in boot_kernel([tmp_path], ["conn", "other"], b"x", tmp_path).modules} >= {
        "conn", "base", "other"
    }  # fmt: skip
    assert len(reads) == 2


def test_what_is_not_whole_is_unpacked_again(tmp_path: Path, reads: list[Path]) -> None:
    kept = boot_kernel([tmp_path], [], b"x", tmp_path)
    kept = boot_kernel([tmp_path], [], b"x", tmp_path)
    assert isinstance(kept.vmlinux, Path)
    kept.vmlinux.write_bytes(b"cut")
    boot_kernel([tmp_path], [], b"x", tmp_path)
    (kept.vmlinux.parent / "kernel.json").write_text("{")
    boot_kernel([tmp_path], [], b"x", tmp_path)
    assert len(reads) == 3


def test_few_are_kept_and_without_a_cache_none(tmp_path: Path, reads: list[Path]) -> None:
    for number in range(unpacked._KEEP + 2):
        boot_kernel([tmp_path], [], bytes([number]), tmp_path)
    assert len(list((tmp_path / "kernels").iterdir())) == unpacked._KEEP
    boot_kernel([tmp_path], [], b"x", None)
    assert len(list((tmp_path / "kernels").iterdir())) == unpacked._KEEP
