# SPDX-License-Identifier: Apache-2.0
"""A guest whose QEMU ``holdfast rss qemu`` starts, as a user without capabilities, and frames sent to it.

The whole lives in a network namespace that QEMU alone keeps, so nothing can stay.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.live.rss import qemu_inside as inside

import holdfast
from holdfast.vm import BootKernel, Guest, Job, boot
from holdfast.vm.qemu import Qemu
from holdfast.vm.qemu import command as plain_command

NOBODY = 65534
TAP = "hfqemu0"
MODULES = ("virtio_net", "af_packet")
# As a service manager would start it: in a network of its own, and never to outlive the test.
_START = (
    "import ctypes,os,signal,sys;libc=ctypes.CDLL(None);libc.prctl(1,signal.SIGKILL);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);"
    "libc.unshare(0x40000000)==0 or os._exit(1);os.execv(sys.argv[2],sys.argv[2:])"
)
_HOLDFAST = [sys.executable, "-m", "holdfast.cli.main", "rss", "qemu"]


def command_line(qemu: Qemu, options: list[str], device: str, **rest: object) -> list[str]:
    """The command line of a guest, with one more processor for each queue and a TAP, under holdfast."""
    words = plain_command(qemu, **rest)  # type: ignore[arg-type]
    words = words[words.index(qemu.path) :]
    words[words.index("-smp") + 1] = "4"
    words += ["-netdev", "tap,id=n0,script=no", "-device", device]
    start = [sys.executable, "-ISc", _START, str(rest["parent"])]
    return [*start, *_HOLDFAST, "--user", str(NOBODY), "--tap", TAP, *options, "--", *words]


@contextmanager
def guest(kernel: BootKernel, *options: str, device: str = "virtio-net-pci,netdev=n0") -> Iterator[Guest]:
    """Boot it; ``options`` are for ``holdfast rss qemu``."""
    code = Path(inside.__file__).read_bytes()
    home = Path(holdfast.__file__).resolve().parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boot, "command", lambda qemu, **rest: command_line(qemu, list(options), device, **rest))
        booted = Guest.boot(
            kernel,
            modules=MODULES,
            files={str(home / "qemu_inside.py"): code},
            accelerator="tcg",
            timeout=300,
        )
    with booted:
        yield booted


def pid_of(booted: Guest) -> int:
    assert booted._process is not None
    return booted._process.pid


def call(booted: Guest, name: str, **arguments: object) -> object:
    """What a job of :mod:`tests.live.rss.qemu_inside` returns."""
    (result,) = booted.run([Job(name, f"qemu_inside:{name}", arguments)])
    assert result.ok, (result.problem, result.said)
    return result.value


def socket_on_the_tap(pid: int) -> socket.socket:
    """A packet socket on the TAP, in QEMU's network namespace."""
    made: list[socket.socket] = []

    def work() -> None:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            assert ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000) == 0
        finally:
            os.close(namespace)
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        one.bind((TAP, inside.GO))
        made.append(one)

    # A thread, which ends: nothing of this process stays in that namespace.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (found,) = made
    return found


def arrivals(booted: Guest, frames: Iterable[bytes], queues: int) -> dict[int, int]:
    """Send frames to the TAP once the guest listens, and return the queue of each by the frame's number,
    which is in its last four bytes.
    """
    rest = list(frames)
    with socket_on_the_tap(pid_of(booted)) as sender:

        def send() -> None:
            sender.settimeout(60)
            while struct.unpack("!H", sender.recv(1 << 16)[12:14]) != (inside.GO,):
                pass
            for one in rest:
                sender.send(one)

        thread = threading.Thread(target=send)
        thread.start()
        got = call(booted, "listen", frames=len(rest), queues=queues)
        thread.join()
    assert isinstance(got, list)
    assert len(got) == len(rest), f"{len(got)} of {len(rest)} frames arrived"
    return {number: queue for queue, number in got}
