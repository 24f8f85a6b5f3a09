# SPDX-License-Identifier: Apache-2.0
"""qemu-system-x86_64: where it is, whether it will do, and how it is called."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from holdfast.vm.errors import GuestError

__all__ = ["OLDEST", "Qemu", "command", "find"]

# Software emulation of 7.2 loses flags around cmpxchg16b and crashes kernels from 6.12 on. Lower this when no
# supported distribution ships 7.2 (Debian 12 does; its backports have 10).
OLDEST = (8, 0)
_NAME = "qemu-system-x86_64"
_HINT = "install qemu-system-x86 8.0 or newer; Debian 12 has it in bookworm-backports"
# Dies with its parent, whatever the parent dies of: a guest must not go on burning a processor. prctl(2)
# counts the thread that started it as the parent. Remove for -run-with exit-with-parent=on when OLDEST is
# 10.2.
_TIED = (
    "import ctypes,os,signal,sys;ctypes.CDLL(None).prctl(1,signal.SIGKILL);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);os.execv(sys.argv[2],sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Qemu:
    """An emulator that will do."""

    path: str
    version: tuple[int, int]


def find() -> Qemu:
    """Return the emulator of this machine. Raises :class:`~holdfast.vm.errors.GuestError`: none, too old."""
    path = shutil.which(_NAME)
    if path is None:
        raise GuestError(f"{_NAME} is not installed", hint=_HINT)
    qemu = Qemu(path, _version(path))
    if qemu.version < OLDEST:
        version = ".".join(map(str, qemu.version))
        raise GuestError(f"{path} is version {version}; guests need 8.0 or newer", hint=_HINT)
    return qemu


@functools.cache
def _version(path: str) -> tuple[int, int]:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuestError(f"{path} does not run: {error}", hint=_HINT) from None
    found = re.search(r"version (\d+)\.(\d+)", said)
    if found is None:
        raise GuestError(f"{path} does not say its version", hint=_HINT)
    return int(found[1]), int(found[2])


def command(
    qemu: Qemu,
    *,
    parent: int,
    accelerator: str,
    kernel: str,
    initrd: str,
    arguments: str,
    memory: int,
    port: int,
    console: int,
) -> list[str]:
    """Return the command line.

    ``parent`` is the process that it must not outlive, ``memory`` in MiB, ``port`` and ``console`` are
    descriptors of connected sockets. ``arguments`` go to the kernel.
    """
    # The cache of translated code is 1 GiB unless it is said.
    accel = "tcg,tb-size=256" if accelerator == "tcg" else accelerator
    cpu = "max" if accelerator == "tcg" else "host"
    return [
        sys.executable, "-ISc", _TIED, str(parent), qemu.path,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35", "-accel", accel, "-cpu", cpu, "-smp", "1", "-m", f"{memory}M",
        "-kernel", kernel, "-initrd", initrd, "-append", arguments,
        "-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console",
        "-chardev", f"socket,id=port,fd={port}",
        "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=holdfast",
    ]  # fmt: skip
