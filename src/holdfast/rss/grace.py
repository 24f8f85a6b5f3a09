# SPDX-License-Identifier: Apache-2.0
"""Wait until no packet that is on its way through a BPF program can still use old settings."""

from __future__ import annotations

import ctypes
import platform
import time

__all__ = ["wait_for_readers"]

# include/uapi/linux/membarrier.h, and the architectures' system call tables
_MEMBARRIER_CMD_GLOBAL = 1
_SYSCALL = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "s390x": 356, "ppc64le": 365, "loongarch64": 283}


def wait_for_readers() -> None:
    """Returns when every BPF program that ran at the call has ended.

    MEMBARRIER_CMD_GLOBAL is synchronize_rcu() (Linux commit 5b25b13ab08f ("sys_membarrier(): system-wide
    memory barrier (generic, x86)") (in v4.3)), and programs of networking run in an RCU read section.
    It is refused with EINVAL on kernels with nohz_full CPUs and absent without CONFIG_MEMBARRIER; then
    wait for a time that no packet takes. No privilege is needed.
    """
    number = _SYSCALL.get(platform.machine())
    # A 32-bit Python on a 64-bit kernel would use another table.
    known = number is not None and ctypes.sizeof(ctypes.c_void_p) == 8
    if known and ctypes.CDLL(None).syscall(number, _MEMBARRIER_CMD_GLOBAL, 0, 0) == 0:
        return
    time.sleep(0.05)
