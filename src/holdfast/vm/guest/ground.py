# SPDX-License-Identifier: Apache-2.0
"""The file systems and the interface that a booted system has, as its service manager would make them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
from pathlib import Path

__all__ = ["loopback_up", "mount_all"]

# (kind, where, options); bpffs is 1777 when mounted by hand and 0700 under systemd
_MOUNTS = (
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("securityfs", "/sys/kernel/security", ""),
    ("debugfs", "/sys/kernel/debug", "mode=0700"),
    ("tracefs", "/sys/kernel/tracing", "mode=0700"),
    ("bpf", "/sys/fs/bpf", "mode=0700"),
    ("cgroup2", "/sys/fs/cgroup", ""),
)
# Not mounted over: the root is in memory as it is, and what jobs import may come from a host's folder there.
_FOLDERS = (("/tmp", 0o1777), ("/run", 0o755))
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def mount_all() -> None:
    """Mount what this kernel has of it; what it has not is said on the console."""
    libc = ctypes.CDLL(None, use_errno=True)
    for where, mode in _FOLDERS:
        Path(where).mkdir(parents=True, exist_ok=True)
        Path(where).chmod(mode)
    for kind, where, options in _MOUNTS:
        if not where.startswith("/sys/"):
            Path(where).mkdir(parents=True, exist_ok=True)
        if libc.mount(kind.encode(), where.encode(), kind.encode(), 0, options.encode() or None):
            sys.stderr.write(f"holdfast: no {kind} on {where}: {os.strerror(ctypes.get_errno())}\n")


def loopback_up() -> None:
    """Bring up ``lo``."""
    import _socket  # the module around it costs a guest a tenth of a second

    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    finally:
        control.close()
