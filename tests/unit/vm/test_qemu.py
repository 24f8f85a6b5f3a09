# SPDX-License-Identifier: Apache-2.0
"""Which qemu will do, and that it is tied to the process that wants it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.vm import accelerator, qemu
from holdfast.vm.errors import GuestError


def fake(folder: Path, said: str) -> None:
    path = folder / "qemu-system-x86_64"
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_versions(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="is not installed"):
        qemu.find()
    fake(tmp_path, "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)")
    assert qemu.find().version == (10, 0)


@pytest.mark.parametrize(
    ("said", "problem"),
    [("QEMU emulator version 7.2.22", r"is version 7\.2"), ("something else", "does not say its version")],
)
def test_what_will_not_do(tmp_path: Path, said: str, problem: str) -> None:
    fake(tmp_path, said)
    with pytest.raises(GuestError, match=problem) as caught:
        qemu.find()
    assert caught.value.hint


def test_it_dies_with_its_parent() -> None:
    """The program in place of qemu must not outlive a parent that is killed, which can clean nothing up."""
    found = qemu.Qemu("/bin/sleep", (10, 0))
    line = qemu.command(
        found, parent=0, accelerator="tcg", kernel="k", initrd="i", arguments="", memory=1, port=3, console=4
    )
    wrapper = line[: line.index("/bin/sleep") - 1]
    code = (
        "import os, subprocess, time\n"
        f"child = subprocess.Popen([*{wrapper!r}, str(os.getpid()), '/bin/sleep', '1000'])\n"
        "print(child.pid, flush=True)\ntime.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        parent.send_signal(signal.SIGKILL)
    wait(lambda: gone(child))


def test_memory_of_the_translator_is_bounded() -> None:
    line = qemu.command(
        qemu.Qemu("q", (10, 0)), parent=1, accelerator="tcg", kernel="k", initrd="i", arguments="a b",
        memory=512, port=3, console=4,
    )  # fmt: skip
    assert "tcg,tb-size=256" in line and line[line.index("-m") + 1] == "512M"
    assert line[line.index("-append") + 1] == "a b"


def test_kvm_is_judged_by_what_it_did(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "kvm")
    assert not accelerator.may_use_kvm()
    (tmp_path / "kvm").touch()
    assert accelerator.may_use_kvm() and not accelerator.kvm_is_proven()
    accelerator.prove_kvm()
    assert accelerator.may_use_kvm() and accelerator.kvm_is_proven()
    accelerator.forget_kvm()
    assert not accelerator.may_use_kvm() and not accelerator.kvm_is_proven()


def wait(condition: object) -> None:
    deadline = time.monotonic() + 20
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
