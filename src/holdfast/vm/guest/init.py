# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a guest: makes the ground, inserts modules, finds the port, serves jobs.

It lives as long as the host holds the port. Should it fail, the traceback is on the console and the kernel
panics, which ends the machine.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path

from holdfast.vm.frames import Kind, encode
from holdfast.vm.guest.ground import loopback_up, mount_all
from holdfast.vm.guest.insert import insert
from holdfast.vm.guest.serve import serve
from holdfast.vm.values import pack

__all__ = ["main"]

_PLAN = Path("/holdfast/plan.json")
_MODULES = Path("/holdfast/modules")
_PORTS = Path("/sys/class/virtio-ports")
_PATIENCE = 30.0  # seconds; a device shows up some milliseconds after its driver


def main() -> None:
    """Run until the host leaves."""
    at = {"entered": time.monotonic()}
    mount_all()
    at["mounted"] = time.monotonic()
    plan = json.loads(_PLAN.read_text())
    os.environ.update(plan["environment"], PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root")
    inserted = {name: insert((_MODULES / f"{name}.ko").read_bytes()) for name in plan["modules"]}
    port = os.open(_find_port(), os.O_RDWR | os.O_CLOEXEC)
    loopback_up()
    at["port"] = time.monotonic()
    _prepare()

    system = os.uname()
    hello = {
        "release": system.release,
        "version": system.version,
        "machine": system.machine,
        "modules": inserted,
        "seconds": at | {"ready": time.monotonic()},
    }
    _send(port, encode(Kind.HELLO, pack(hello)))
    serve(port)


def _prepare() -> None:
    """Import and open here once what each job would have to."""
    import holdfast.vm.guest.jobs
    import holdfast.vm.guest.load_alone  # noqa: F401
    from holdfast.errors import LibbpfError
    from holdfast.libbpf import library

    try:
        library()
    except LibbpfError as error:  # jobs that load will say the same
        sys.stderr.write(f"holdfast: {error.message}\n")
    # /init switched it off: what is imported stays, here and in the processes of all jobs
    gc.freeze()
    gc.enable()


def _find_port() -> str:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for entry in _PORTS.glob("*/name") if _PORTS.is_dir() else ():
            if entry.read_text().strip() == "holdfast":
                return f"/dev/{entry.parent.name}"
        time.sleep(0.005)
    raise RuntimeError("there is no virtio port: this kernel needs its modules virtio_pci and virtio_console")


def _send(port: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(port, view) :]
