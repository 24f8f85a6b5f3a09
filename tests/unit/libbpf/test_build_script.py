# SPDX-License-Identifier: Apache-2.0
"""scripts/build-libbpf without a network: reading indices, refusing cleanly."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import lzma
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

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


SOURCES = """Package: libbpf-rs
Version: 9.0

Package: libbpf
Version: 1.5.0-3
Directory: pool/old

Package: libbpf
Version: 1.10.0-1
Checksums-Sha256:
 aa 10 libbpf_1.10.0.orig.tar.gz
 bb 20 libbpf_1.10.0-1.dsc
Directory: pool/new

Package: zlib
Version: 1.3
"""


def test_the_newest_of_several_versions_is_taken(script: ModuleType, tmp_path: Path) -> None:
    packed = tmp_path / "Sources.xz"
    packed.write_bytes(lzma.compress(SOURCES.encode()))
    stanza = script.find_stanza(packed)
    assert "pool/new" in stanza
    assert script.section_of(stanza, "Checksums-Sha256")["libbpf_1.10.0.orig.tar.gz"] == "aa"


def test_an_index_without_libbpf_is_said(script: ModuleType, tmp_path: Path) -> None:
    packed = tmp_path / "Sources.xz"
    packed.write_bytes(lzma.compress(b"Package: zlib\nVersion: 1\n"))
    with pytest.raises(script.CannotBuild, match="no source package"):
        script.find_stanza(packed)


def test_a_wrong_checksum_is_refused(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(command: list[str], cwd: Path | None = None) -> str:
        Path(command[-1]).write_bytes(b"tampered")
        return ""

    monkeypatch.setattr(script, "run", fake)
    monkeypatch.setattr(Path, "exists", lambda self: True)
    with pytest.raises(script.CannotBuild, match="SHA256"):
        script.download("x", tmp_path / "file", "00" * 32)


def test_a_signature_of_nobody_is_refused(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str], cwd: Path | None = None) -> str:
        raise script.CannotBuild("bad")

    monkeypatch.setattr(script, "run", fail)
    monkeypatch.setattr(Path, "exists", lambda self: True)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(script.CannotBuild, match="not signed"):
        script.check_signature(tmp_path / "Release", tmp_path / "Release.gpg", "Debian", True)


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
