# SPDX-License-Identifier: Apache-2.0
"""scripts/build-libbpf without a network: what is taken, refusing cleanly."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from holdfast.kernels import sources
from holdfast.kernels.sources import RemoteFile, SourcePackage
from holdfast.kernels.sources.deb822 import Digest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "build-libbpf"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("build_libbpf", str(SCRIPT))
    spec = importlib.util.spec_from_loader("build_libbpf", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


DIGEST = Digest(3, "a" * 64)


class Served:
    """Stands for an archive: what a suite has of libbpf, and what was taken of it."""

    def __init__(self, version: str) -> None:
        self.found = SourcePackage(
            "libbpf",
            version,
            tuple(
                RemoteFile(name, f"http://m.invalid/{name}", DIGEST)
                for name in ("l.dsc", "l.orig.tar.gz", "l.orig.tar.gz.asc", "l.debian.tar.xz")
            ),
            "debian",
            "sid",
        )
        self.taken: list[str] = []

    def suite(self, name: str) -> str:
        return name

    def download(self, file: RemoteFile, _folder: Path) -> None:
        self.taken.append(file.name)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Served]:
    def make(version: str) -> Served:
        archive = Served(version)
        monkeypatch.setattr(sources, "source_package", lambda _suite, _name: archive.found)
        return archive

    return make


def test_the_sources_and_their_patches_are_taken(script: ModuleType, served: Callable[[str], Served]) -> None:
    archive = served("1:1.10.0+ds-2")
    package = script.look_in(archive, "sid")
    assert archive.taken == ["l.orig.tar.gz", "l.debian.tar.xz"]
    assert package == {
        "version": "1.10.0",
        "package": "1:1.10.0+ds-2",
        "suite": "sid",
        "sha256 l.orig.tar.gz": DIGEST.sha256,
        "sha256 l.debian.tar.xz": DIGEST.sha256,
    }


def test_a_libbpf_that_is_too_old_is_refused(script: ModuleType, served: Callable[[str], Served]) -> None:
    archive = served("0.8.1-1")
    with pytest.raises(script.CannotBuild, match=r"only libbpf 0\.8\.1"):
        script.look_in(archive, "bookworm")
    assert archive.taken == []


def test_suites_are_tried_until_the_mirror_is_gone(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def look_in(_archive: sources.Archive, suite: str) -> dict[str, str]:
        asked.append(suite)
        if len(asked) < 3:
            raise sources.MissingError("no such suite")
        raise sources.OfflineError("it does not answer")

    monkeypatch.setattr(script, "look_in", look_in)
    monkeypatch.setattr(script, "CACHE", tmp_path)
    with pytest.raises(script.CannotBuild, match=r"it does not answer.*HOLDFAST_LIBBPF"):
        script.find_package(True)
    assert len(asked) == 3
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_one_line_and_nothing_left(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "cached_package", lambda: {"version": "1.7.0", "package": "1", "suite": "s"})
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    assert script.main(["--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_finished_build_is_left_alone(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("asked for a source package")

    monkeypatch.setattr(script, "cached_package", never)
    (tmp_path / "libbpf.so").touch()
    (tmp_path / "VERSION").write_text(f"version: 1.7.0\nrecipe: {script.recipe()}\n")
    assert script.main(["--output", str(tmp_path)]) == 0
    monkeypatch.setattr(script, "cached_package", lambda: None)
    monkeypatch.setattr(
        script, "find_package", lambda quiet: (_ for _ in ()).throw(script.CannotBuild("no net"))
    )
    (tmp_path / "VERSION").write_text("version: 1.7.0\nrecipe: other\n")
    assert script.main(["--output", str(tmp_path)]) == 1


def test_unknown_argument_is_usage() -> None:
    done = subprocess.run([SCRIPT, "--nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
