# SPDX-License-Identifier: Apache-2.0
"""Modules into the running kernel: finit_module(2)."""

from __future__ import annotations

import ctypes
import os

__all__ = ["insert"]

_FINIT_MODULE = 313  # x86-64


def insert(image: bytes) -> int:
    """Return 0, or the positive errno (EEXIST: it is there or built in; ENOENT: it lacks a symbol)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.memfd_create("module", os.MFD_CLOEXEC)
    try:
        view = memoryview(image)
        while view:
            view = view[os.write(fd, view) :]
        # A module is not taken from a file that somebody may be writing (ETXTBSY): open it again for reading.
        reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)
    try:
        done = libc.syscall(
            ctypes.c_long(_FINIT_MODULE), ctypes.c_int(reader), ctypes.c_char_p(b""), ctypes.c_int(0)
        )
        return 0 if done == 0 else ctypes.get_errno()
    finally:
        os.close(reader)
