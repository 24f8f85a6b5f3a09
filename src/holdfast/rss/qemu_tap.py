# SPDX-License-Identifier: Apache-2.0
"""A TAP for a virtual machine, in this network namespace: opened, brought up, made a port of a bridge.

One that did not exist before is gone when the last descriptor is closed: whoever holds them last, holds it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from holdfast.errors import HoldfastError, KernelAccessError, PrivilegeError, UsageError

__all__ = ["MOST_QUEUES", "QemuTap", "open_tap"]

MOST_QUEUES: Final = 256  # MAX_TAP_QUEUES of drivers/net/tun.c

# include/uapi/linux/if_tun.h, sockios.h, if.h
_TUNSETIFF: Final = 0x400454CA
_TUNSETSTEERINGEBPF: Final = 0x800454E0  # declared _IOR, and yet it reads its argument
_FLAGS: Final = 0x0002 | 0x1000 | 0x4000 | 0x0100  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCBRADDIF: Final = 0x89A2
_IFF_UP: Final = 0x0001
_IFREQ: Final = struct.Struct("16sH22x")


@dataclass(frozen=True, slots=True)
class QemuTap:
    """An open TAP. ``fds`` has a descriptor for each queue, the caller's to close; ``made`` tells that it was
    not there before.
    """

    name: str
    fds: tuple[int, ...]
    made: bool

    def close(self) -> None:
        """Closes the descriptors; not twice."""
        for fd in self.fds:
            os.close(fd)


def open_tap(name: str | None, queues: int, *, bridge: str | None = None) -> QemuTap:
    """Opens ``queues`` queues of a TAP, which is made where there is none of that name, and brings it up.

    Without a name the kernel gives one, ``tap0`` and so on. Headers of virtio (IFF_VNET_HDR) are on, as QEMU
    wants them. ``bridge`` names a bridge that it becomes a port of. A program that an earlier user left
    steering it is taken off.

    Raises :class:`~holdfast.errors.UsageError` for names and numbers that cannot be,
    :class:`~holdfast.errors.PrivilegeError` without CAP_NET_ADMIN (a TAP that exists can belong to a user),
    :class:`~holdfast.errors.KernelAccessError` when the kernel has no TAP to offer.
    """
    if not 1 <= queues <= MOST_QUEUES:
        raise UsageError(f"a TAP with {queues} queues", hint=f"give 1 to {MOST_QUEUES} queues")
    wanted = "tap%d" if name is None else name
    if not 1 <= len(wanted.encode()) <= 15:
        raise UsageError(f"a TAP named {wanted!r}", hint="give a name of 1 to 15 bytes")
    fds: list[int] = []
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            made = _flags(control, wanted) is None
            for _ in range(queues):
                fds.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
                reply = fcntl.ioctl(fds[-1], _TUNSETIFF, _IFREQ.pack(wanted.encode(), _FLAGS))
                wanted = _IFREQ.unpack(reply)[0].rstrip(b"\0").decode()
            fcntl.ioctl(fds[0], _TUNSETSTEERINGEBPF, bytearray(struct.pack("i", -1)))
            if bridge is not None:
                _add_to(control, bridge, wanted)
            flags = _flags(control, wanted) or 0
            if not flags & _IFF_UP:
                fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(wanted.encode(), flags | _IFF_UP))
    except BaseException as error:
        for fd in fds:
            os.close(fd)
        if isinstance(error, OSError):
            raise _explained(error, wanted, queues) from None
        raise
    return QemuTap(wanted, tuple(fds), made)


def _flags(control: socket.socket, name: str) -> int | None:
    """Return the flags of an interface, None where there is none."""
    try:
        reply = fcntl.ioctl(control, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return int(_IFREQ.unpack(reply)[1])


def _add_to(control: socket.socket, bridge: str, name: str) -> None:
    request = struct.pack("16si20x", bridge.encode(), socket.if_nametoindex(name))
    try:
        fcntl.ioctl(control, _SIOCBRADDIF, request)
    except OSError as error:
        if error.errno == errno.EBUSY:  # it is a port already, of this bridge or of another
            return
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            raise UsageError(f"there is no bridge {bridge!r}", hint="ip link add NAME type bridge") from None
        raise


def _explained(error: OSError, name: str, queues: int) -> HoldfastError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrivilegeError(
            f"TAP {name}: {error.strerror}",
            hint="run as root or with CAP_NET_ADMIN, or have one made for you: "
            "ip tuntap add NAME mode tap multi_queue user YOU; ip link set NAME up",
        )
    if error.errno == errno.EINVAL:
        return UsageError(
            f"TAP {name}: it exists and is of another kind",
            hint="make it with ip tuntap add NAME mode tap multi_queue vnet_hdr",
        )
    if error.errno in (errno.EBUSY, errno.E2BIG):
        return UsageError(f"TAP {name}: it has no {queues} free queues; another process holds some")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return KernelAccessError(
            f"this kernel offers no TAP: {error.strerror} ({error.filename or 'TUNSETIFF'})",
            hint="load the module tun, and give a container /dev/net/tun",
        )
    return KernelAccessError(f"TAP {name}: {error.strerror}")
