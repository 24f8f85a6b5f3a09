# SPDX-License-Identifier: Apache-2.0
"""Every program, map, link and BTF of the kernel by its id (CAP_SYS_ADMIN)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import Literal

from holdfast.sys.abi import Command
from holdfast.sys.fd import OwnedFd
from holdfast.sys.syscall import bpf, buffer

__all__ = ["Kind", "fd_by_id", "ids"]

Kind = Literal["prog", "map", "btf", "link"]
_NEXT = {
    "prog": Command.PROG_GET_NEXT_ID,
    "map": Command.MAP_GET_NEXT_ID,
    "btf": Command.BTF_GET_NEXT_ID,
    "link": Command.LINK_GET_NEXT_ID,
}
_GET = {
    "prog": Command.PROG_GET_FD_BY_ID,
    "map": Command.MAP_GET_FD_BY_ID,
    "btf": Command.BTF_GET_FD_BY_ID,
    "link": Command.LINK_GET_FD_BY_ID,
}


def ids(kind: Kind) -> Iterator[int]:
    """Yields the ids that exist, ascending. Raises :class:`OSError` (EPERM without CAP_SYS_ADMIN)."""
    current = 0
    while True:
        block = buffer(struct.pack("=III", current, 0, 0))
        try:
            bpf(_NEXT[kind], block)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        current = struct.unpack_from("=I", block, 4)[0]
        yield current


def fd_by_id(kind: Kind, number: int) -> OwnedFd:
    """Returns a descriptor of the object with that id. Raises :class:`OSError` (ENOENT: it is gone)."""
    return OwnedFd(bpf(_GET[kind], struct.pack("=III", number, 0, 0)))
