# SPDX-License-Identifier: Apache-2.0
"""A KVM that is there and does not do: found out by trying, in little time, once, and told."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import holdfast
from holdfast.vm import accelerator, boot
from holdfast.vm.kernel import BootKernel

KERNEL = BootKernel("6.12", None, b"image")
# In place of qemu: with TCG it greets as a guest does; with KVM it does as the test says.
FAKE = """\
#!{python} -IS
import os, sys, time
sys.path.append({source!r})
line = " ".join(sys.argv)
if "--version" in line:
    print("QEMU emulator version 10.0.2")
    sys.exit()
with open({log!r}, "a") as log:
    log.write(sys.argv[sys.argv.index("-accel") + 1].partition(",")[0] + "\\n")
if "-accel kvm" in line:
    {with_kvm}
from holdfast.vm.frames import Kind, encode
from holdfast.vm.values import pack
port = int(line.partition("id=port,fd=")[2].split()[0])
os.write(port, encode(Kind.HELLO, pack({{"release": "6.12", "modules": {{}}, "seconds": {{}}}})))
time.sleep(100)
"""


@pytest.mark.parametrize("with_kvm", ["time.sleep(100)", "sys.exit('failed to initialize kvm')", "pass"])
def test_kvm_is_tried_once(with_kvm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, device, qemu = tmp_path / "log", tmp_path / "kvm", tmp_path / "qemu-system-x86_64"
    source = str(Path(holdfast.__file__).parents[1])
    text = FAKE.format(python=sys.executable, source=source, log=str(log), with_kvm=with_kvm)
    qemu.write_text(text)
    qemu.chmod(0o755)
    device.touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(accelerator, "_DEVICE", device)
    monkeypatch.setattr(boot, "_KVM_PATIENCE", 3.0)
    monkeypatch.setattr(boot, "build", lambda *_, **__: os.open("/dev/null", os.O_RDONLY))
    works = with_kvm == "pass"
    for _ in range(2):
        started = time.monotonic()
        with boot.Guest.boot(KERNEL) as guest:
            assert guest.accelerator == ("kvm" if works else "tcg")
        assert time.monotonic() - started < 60
    assert log.read_text().split() == (["kvm", "kvm"] if works else ["kvm", "tcg", "tcg"])
    assert ("no guest gets anywhere" in accelerator.why_not_kvm()) is not works


def test_why_there_is_no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "kvm")
    assert accelerator.why_not_kvm() == f"there is no {tmp_path}/kvm"
    assert not accelerator.may_use_kvm()
