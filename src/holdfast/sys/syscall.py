# SPDX-License-Identifier: Apache-2.0
"""bpf(2) itself."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

from holdfast.sys.abi import Command

__all__ = ["address", "bpf", "buffer", "c_string"]

# __NR_bpf; architectures younger than the generic table share 280.
_NUMBERS = {"x86_64": 321, "i686": 357, "i386": 357, "ppc64le": 361, "ppc64": 361, "s390x": 351}
_GENERIC = 280

Buffer = ctypes.Array[ctypes.c_char]


@cache
def _syscall() -> tuple[ctypes.CDLL, int]:
    machine = os.uname().machine
    number = 386 if machine.startswith("arm") else _NUMBERS.get(machine, _GENERIC)
    if machine == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 4:
        number = _NUMBERS["i386"]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc, number


def bpf(command: Command, attributes: bytes | Buffer) -> int:
    """Returns what bpf(2) returns (a new descriptor, or 0).

    ``attributes`` is the part of ``union bpf_attr`` that the command uses; pass a :func:`buffer` where the
    kernel writes back. Zero bytes past what an older kernel knows are accepted by it
    (bpf_check_uarg_tail_zero). Raises :class:`OSError`. A descriptor is close-on-exec and the caller's.
    """
    libc, number = _syscall()
    block = buffer(attributes) if isinstance(attributes, bytes) else attributes
    while True:
        result: int = libc.syscall(
            ctypes.c_long(number), ctypes.c_long(command), block, ctypes.c_size_t(ctypes.sizeof(block))
        )
        if result >= 0:
            return result
        code = ctypes.get_errno()
        # The verifier gives up with EAGAIN when a signal is pending (kernel c3494801cd17, 5.0); libbpf
        # retries too.
        if code == errno.EAGAIN and command is Command.PROG_LOAD:
            continue
        raise OSError(code, f"bpf({command.name}): {os.strerror(code)}")


def buffer(content: bytes | int) -> Buffer:
    """Returns a writable block that holds ``content``, or that many zero bytes (at least one)."""
    if isinstance(content, int):
        return ctypes.create_string_buffer(max(content, 1))
    return ctypes.create_string_buffer(content, max(len(content), 1))


def address(block: Buffer | None) -> int:
    """Returns the block's address for a pointer field, 0 for none. The caller keeps the block alive."""
    return 0 if block is None else ctypes.addressof(block)


def c_string(block: bytes) -> str:
    """Returns the text before the first NUL."""
    return block.split(b"\0", 1)[0].decode(errors="replace")
