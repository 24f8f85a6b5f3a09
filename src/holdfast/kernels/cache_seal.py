# SPDX-License-Identifier: Apache-2.0
"""A mark on files of the cache whose checksum was compared since the machine was started.

The checksum of a kernel's BTF costs half of what it takes until the kernel can be asked. So it is compared
once after each start of the machine, and then the file gets a time of change that follows from its header,
from which file it is, and from this start. Whoever writes to the file gives it another time, a copy is
another file, and what was lost with the power was lost before this start.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

__all__ = ["is_sealed", "seal"]

_LEAST: Final = 256 << 10  # bytes; the checksum of less costs nothing
_YEARS: Final = 1 << 30  # seconds, since 1970: a time that every file system can keep


def is_sealed(status: os.stat_result, header: bytes) -> bool:
    """Whether the file was whole after the last start of the machine, and nobody has written to it since."""
    return status.st_size >= _LEAST and status.st_mtime_ns == _mark(status, header)


def seal(fd: int, status: os.stat_result, header: bytes) -> None:
    """Mark a file whose checksum fits; ``status`` is from before it was compared.

    A file that was written to meanwhile, or cannot be marked, stays as it is.
    """
    mark = _mark(status, header)
    try:
        now = os.fstat(fd)
        if mark is not None and now.st_size >= _LEAST and now.st_ctime_ns == status.st_ctime_ns:
            os.utime(fd, ns=(now.st_atime_ns, mark))
    except OSError:
        pass


def _mark(status: os.stat_result, header: bytes) -> int | None:
    """Nanoseconds since 1970; None where the start of the machine is not known."""
    start = _start()
    if not start:
        return None
    which = b"%d %d " % (status.st_dev, status.st_ino)
    number = int.from_bytes(blake2b(which + start + header, digest_size=8).digest(), "little")
    return number % (_YEARS * 1_000_000_000)


@cache
def _start() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return b""
