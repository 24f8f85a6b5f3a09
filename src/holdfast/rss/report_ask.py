# SPDX-License-Identifier: Apache-2.0
"""Ask a TAP about itself: its name, its headers, and whether its kernel reports hashes without help.

No released kernel does (7.3 is the newest that was looked at). The questions are those of the twelfth
version of the patches that were posted for it ("tun: Introduce virtio-net hash feature", May 2025, not
merged); a kernel that does not know them says EINVAL or ENOTTY. When one is released that reports, hold
``enable`` against its if_tun.h, and replace it where that differs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast.errors import KernelAccessError, PrivilegeError, UsageError
from holdfast.rss.config import RssConfig
from holdfast.rss.report_wire import HEADER_BYTES
from holdfast.rss.terms import ALL_TYPES, HashType
from holdfast.rss.toeplitz import KEY_BYTES

__all__ = ["Headers", "Ioctl", "ask_headers", "enable", "hash_types", "where"]

Ioctl = Callable[..., Any]

# include/uapi/linux/if_tun.h
_TUNGETIFF: Final = 0x800454D2
_TUNGETVNETHDRSZ: Final = 0x800454D7
_TUNSETVNETHDRSZ: Final = 0x400454D8
_TUNGETVNETLE: Final = 0x800454DD
_TUNGETDEVNETNS: Final = 0x54E3
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_IFREQ: Final = struct.Struct("16sH22x")
# the patches'
_TUNGETVNETHASHTYPES: Final = 0x800454E4
_TUNSETVNETREPORTINGRSS: Final = 0x400854E6
_VNET_RSS: Final = struct.Struct("=IHH")  # hash_types, indirection_table_mask, unclassified_queue

_SIZES: Final = (10, 12, HEADER_BYTES)  # struct virtio_net_hdr, _mrg_rxbuf, _v1_hash


@dataclass(frozen=True, slots=True)
class Headers:
    """What a TAP puts in front of frames: ``size`` bytes, 0 for none; ``little`` is their byte order."""

    size: int
    little: bool


def ask_headers(fd: int) -> Headers:
    """Returns what the queue ``fd`` puts in front of frames.

    Raises :class:`~holdfast.errors.UsageError` for what is no TAP's queue, and for a TAP whose frames begin
    with something else than a header of 10, 12 or 20 bytes.
    """
    flags = _name_and_flags(fd)[1]
    if not flags & _IFF_NO_PI:
        raise UsageError("the TAP puts packet information before frames", hint="open it with IFF_NO_PI")
    if not flags & _IFF_VNET_HDR:
        return Headers(0, True)
    size = _number(fd, _TUNGETVNETHDRSZ)
    if size not in _SIZES:
        problem = f"the TAP puts {size} bytes before frames"
        raise UsageError(problem, hint="TUNSETVNETHDRSZ: 10, 12 or 20 bytes")
    # Set, they are little-endian; not set, they are in the host's order.
    return Headers(size, sys.byteorder == "little" or bool(_number(fd, _TUNGETVNETLE)))


def where(fd: int) -> tuple[int, str]:
    """Returns a descriptor of the TAP's network namespace, the caller's to close, and the TAP's name.

    TUNGETDEVNETNS: Linux commit 0c3e0e3bb623 ("tun: Add ioctl() TUNGETDEVNETNS cmd to allow obtaining real
    net ns of tun device") (in v5.2). Raises :class:`~holdfast.errors.PrivilegeError` without CAP_NET_ADMIN
    there.
    """
    name = _name_and_flags(fd)[0]
    try:
        namespace = fcntl.ioctl(fd, _TUNGETDEVNETNS)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PrivilegeError(f"TAP {name}: {error.strerror}", hint="CAP_NET_ADMIN is needed") from None
        raise KernelAccessError(f"TAP {name}: TUNGETDEVNETNS: {error.strerror}") from None
    os.set_inheritable(namespace, False)
    return namespace, name


def hash_types(fd: int, *, ioctl: Ioctl = fcntl.ioctl) -> HashType | None:
    """Returns the types that the kernel itself can report for this TAP, None where it cannot.

    What is no set of hash types is not believed.
    """
    answer = bytearray(4)
    try:
        ioctl(fd, _TUNGETVNETHASHTYPES, answer)
    except OSError:
        return None
    (bits,) = struct.unpack("=I", answer)
    return HashType(bits) if bits and not bits & ~int(ALL_TYPES) else None


def enable(fd: int, config: RssConfig, *, ioctl: Ioctl = fcntl.ioctl) -> None:
    """Has the kernel steer by ``config`` and report; headers then have 20 bytes.

    Raises :class:`OSError` where it will not, with the headers as they were.
    """
    before = bytearray(4)
    ioctl(fd, _TUNGETVNETHDRSZ, before)
    ioctl(fd, _TUNSETVNETHDRSZ, bytearray(struct.pack("=i", HEADER_BYTES)))
    settings = _VNET_RSS.pack(config.types, config.mask, config.unclassified)
    table = struct.pack(f"={len(config.table)}H", *config.table)
    try:
        ioctl(fd, _TUNSETVNETREPORTINGRSS, bytearray(settings + table + config.key[:KEY_BYTES]))
    except OSError:
        ioctl(fd, _TUNSETVNETHDRSZ, before)
        raise


def interface_index(name: str) -> int:
    """Returns an interface's index in the network namespace of this thread."""
    return socket.if_nametoindex(name)


def _name_and_flags(fd: int) -> tuple[str, int]:
    try:
        name, flags = _IFREQ.unpack(fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size)))
    except OSError as error:
        problem = f"descriptor {fd} is no queue of a TAP: {error.strerror}"
        raise UsageError(problem, hint="give descriptors that TUNSETIFF was called on") from None
    return name.rstrip(b"\0").decode(errors="replace"), flags


def _number(fd: int, request: int) -> int:
    try:
        (number,) = struct.unpack("=i", fcntl.ioctl(fd, request, bytes(4)))
    except OSError as error:
        raise KernelAccessError(f"a TAP did not answer (ioctl 0x{request:x}): {error.strerror}") from None
    return int(number)
