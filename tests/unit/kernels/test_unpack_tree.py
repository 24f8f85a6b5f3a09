# SPDX-License-Identifier: Apache-2.0
"""Kernels out of folders, and what is said of modules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests import kernelfiles as made
from tests.kernelfiles import RELEASE, kernel, module, root

from holdfast.errors import KernelFileError
from holdfast.kernels.record import ModulePiece
from holdfast.kernels.unpack import boot_image, limits, may_register, open_kernel, scan
from holdfast.kernels.unpack.modules import KeptModule, builtin_names, module_name, unique


def grow(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def refused(path: Path) -> KernelFileError:
    with pytest.raises(KernelFileError) as caught:
        open_kernel(path)
    assert "\n" not in str(caught.value)
    return caught.value


def check(path: Path) -> None:
    pieces = open_kernel(path)
    assert (pieces.origin, pieces.release, pieces.arch) == (str(path), RELEASE, "x86_64")
    assert (pieces.vmlinux, pieces.config) == (kernel(), made.CONFIG)
    assert pieces.builtin_modules == ("ext4", "virtio_rng")
    assert [(m.name, m.read()) for m in pieces.modules] == [
        ("nf_one", module("nf_one", registers=True)),
        ("two", module("two")),
    ]
    assert boot_image(path).vmlinux == kernel()


def test_a_root_and_a_modules_folder(tmp_path: Path) -> None:
    grow(tmp_path, root())
    check(tmp_path)
    check(tmp_path / "usr/lib/modules" / RELEASE)
    (tmp_path / "lib").symlink_to("usr/lib")
    check(tmp_path)
    check(tmp_path / "lib/modules" / RELEASE)


def test_a_root_with_everything_in_the_modules_folder(tmp_path: Path) -> None:
    files = {
        name.replace("boot/vmlinuz-" + RELEASE, f"lib/modules/{RELEASE}/vmlinuz")
        .replace("boot/config-" + RELEASE, f"lib/modules/{RELEASE}/config")
        .replace("usr/lib", "lib"): data
        for name, data in root(ending=".ko").items()
    }
    grow(tmp_path, files)
    check(tmp_path)
    check(tmp_path / "lib/modules" / RELEASE)


def test_of_several_kernels_one_must_be_named(tmp_path: Path) -> None:
    grow(grow(tmp_path, root()), root("6.1.0-9-amd64"))
    error = refused(tmp_path)
    assert f"it has 2 kernels: 6.1.0-9-amd64, {RELEASE}" in error.problem
    check(tmp_path / "usr/lib/modules" / RELEASE)


def test_folders_without_a_kernel(tmp_path: Path) -> None:
    assert "there is no kernel in it" in refused(tmp_path).problem
    files = root()
    del files[f"boot/vmlinuz-{RELEASE}"]
    grow(tmp_path, files)
    assert "there is no kernel in it" in refused(tmp_path).problem
    (tmp_path / f"boot/vmlinuz-{RELEASE}").symlink_to("/dev/zero")
    assert "there is no kernel in it" in refused(tmp_path).problem


def test_a_kernel_of_another_release(tmp_path: Path) -> None:
    grow(tmp_path, root(image=kernel("6.1.0")))
    error = refused(tmp_path)
    assert f"it says that it is 6.1.0, its name says {RELEASE}" in error.problem
    assert error.path == str(tmp_path / f"boot/vmlinuz-{RELEASE}")


def test_links_and_pipes_in_a_folder_are_left_alone(tmp_path: Path) -> None:
    grow(tmp_path, root())
    modules = tmp_path / "usr/lib/modules" / RELEASE
    (modules / "build").symlink_to("/")
    (modules / "kernel/loop").symlink_to(modules)
    (modules / "kernel/x.ko").symlink_to("/dev/zero")
    os.mkfifo(modules / "kernel/y.ko")
    check(tmp_path)


def test_a_module_that_goes_away_or_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, root())
    pieces = open_kernel(tmp_path)
    file = tmp_path / f"usr/lib/modules/{RELEASE}/kernel/fs/two.ko.xz"
    monkeypatch.setattr(limits, "MODULE", 10)
    with pytest.raises(KernelFileError, match="a module of more than"):
        pieces.modules[1].read()
    file.unlink()
    with pytest.raises(KernelFileError, match=r"two\.ko\.xz: it cannot be read: No such file"):
        pieces.modules[1].read()


def test_a_config_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, root())
    monkeypatch.setattr(limits, "CONFIG", 10)
    assert "it has more than" in refused(tmp_path).problem


# modules


def test_names_of_modules() -> None:
    assert module_name("kernel/net/netfilter/nf-conntrack.ko.xz") == "nf_conntrack"
    assert module_name("x.ko") == module_name("a/x.ko.zst") == "x"
    assert builtin_names(b"kernel/a-b.ko\n\nkernel/c.ko\nkernel/a-b.ko\njunk\xff\n") == ("a_b", "c")


def kept(path: str) -> ModulePiece:
    return KeptModule(module_name(path), path, b"", "")


def test_of_two_modules_with_one_name_the_update_counts() -> None:
    paths = ["kernel/z/x.ko", "updates/dkms/x.ko.xz", "kernel/y.ko", "kernel/a/y.ko"]
    assert [m.path for m in unique(map(kept, paths))] == ["updates/dkms/x.ko.xz", "kernel/a/y.ko"]


def test_modules_that_may_register() -> None:
    assert may_register(module(registers=True))
    assert may_register(module() + b"register_bpf_struct_ops\0")
    assert not may_register(module())


def test_modules_come_in_their_order(tmp_path: Path) -> None:
    paths = [f"kernel/m{number:03}.ko" for number in range(50)]
    files = {
        f"lib/modules/{RELEASE}/{path}": module(path, registers=number % 3 == 0)
        for number, path in enumerate(paths)
    }
    grow(tmp_path, {**files, f"boot/vmlinuz-{RELEASE}": kernel()})
    modules = open_kernel(tmp_path).modules
    assert [m.path for m, _ in scan(modules)] == paths[::3]
    assert [m.path for m, _ in scan(modules, lambda data: True)] == paths
    looked = scan(modules)
    assert next(looked)[0].path == paths[0]
    looked.close()  # type: ignore[attr-defined]  # a generator that is given up leaves no thread behind
