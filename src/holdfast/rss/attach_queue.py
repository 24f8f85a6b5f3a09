# SPDX-License-Identifier: Apache-2.0
"""A queue of a TAP that somebody else has open: steering is set through a queue, and any one will do."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.errors import KernelAccessError, PrivilegeError, UsageError
from holdfast.rss.tc_messages import Device

__all__ = ["queue_of", "set_steering"]

_SYS_PIDFD_GETFD: Final = 438  # since 5.6, the same on every architecture
# include/uapi/linux/if_tun.h; the steering ioctl is declared _IOR and yet reads its argument
_TUNSETIFF: Final = 0x400454CA
_TUNSETSTEERINGEBPF: Final = 0x800454E0
_TUNGETDEVNETNS: Final = 0x54E3
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100


def set_steering(fd: int, program_fd: int | None) -> None:
    """Attaches a SOCKET_FILTER program through the queue ``fd``, or takes off the one there is (None).

    The TAP keeps the program alive. Raises :class:`~holdfast.errors.KernelAccessError`.
    """
    try:
        request = bytearray(struct.pack("=i", -1 if program_fd is None else program_fd))
        fcntl.ioctl(fd, _TUNSETSTEERINGEBPF, request)
    except OSError as error:
        raise KernelAccessError(f"TUNSETSTEERINGEBPF: {error.strerror}") from None


@contextmanager
def queue_of(device: Device) -> Iterator[int]:
    """Yields a queue of the TAP, in the calling thread's network namespace, for the time of the block.

    It is a copy of one that a process has open, so the TAP's queues stay as they are. Where no process
    has, one is opened and closed again.

    Raises :class:`~holdfast.errors.UsageError` for what is no multiqueue TAP,
    :class:`~holdfast.errors.PrivilegeError` where the process that has it may not be asked,
    :class:`~holdfast.errors.KernelAccessError` where the kernel cannot (5.6 or later is needed).
    """
    tun = device.tun
    if tun is None or not tun.is_tap:
        raise UsageError(
            f"{device.name}: is no TAP, so it takes no steering program",
            hint="use --form tc, which takes any",
        )
    if not tun.multiqueue:
        raise UsageError(
            f"{device.name}: has one queue, which is never steered",
            hint=f"make it with: ip tuntap add {device.name} mode tap multi_queue",
        )
    fd, refused = _copied(device.name)
    if fd is None:
        if refused is not None:
            raise refused
        flags = _IFF_TAP | _IFF_MULTI_QUEUE
        # The flags replace the device's, so they have to be those that it has.
        flags |= 0 if tun.packet_information else _IFF_NO_PI
        flags |= _IFF_VNET_HDR if tun.vnet_header else 0
        fd = _opened(device.name, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def _copied(name: str) -> tuple[int | None, PrivilegeError | KernelAccessError | None]:
    refused: PrivilegeError | KernelAccessError | None = None
    for pid, number in _holders(name):
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # it ended meanwhile
            continue
        try:
            fd = _get(pidfd, number)
        except PermissionError as error:
            refused = PrivilegeError(
                f"{name}: process {pid} has it open, and does not share it: {error.strerror}",
                hint="run as root, or as the same user with CAP_SYS_PTRACE",
            )
            continue
        except OSError as error:
            refused = KernelAccessError(f"{name}: process {pid} has it open: pidfd_getfd: {error.strerror}")
            continue
        finally:
            os.close(pidfd)
        if _is_here(fd):
            return fd, None
        os.close(fd)
    return None, refused


def _holders(name: str) -> Iterator[tuple[int, int]]:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for one in (process / "fd").iterdir():
                if one.readlink() == Path("/dev/net/tun"):
                    # tun_chr_show_fdinfo(): "iff:" and the device's name
                    told = (process / "fdinfo" / one.name).read_text()
                    if any(line.split() == ["iff:", name] for line in told.splitlines()):
                        yield int(process.name), int(one.name)
        except OSError:  # it ended meanwhile, or is somebody else's
            continue


def _get(pidfd: int, number: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.syscall(_SYS_PIDFD_GETFD, pidfd, number, 0)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def _is_here(fd: int) -> bool:
    # TUNGETDEVNETNS: Linux commit 0c3e0e3bb623 ("tun: Add ioctl() TUNGETDEVNETNS cmd to allow obtaining real
    # net ns of tun device") (in v5.2)
    try:
        namespace = fcntl.ioctl(fd, _TUNGETDEVNETNS)
    except OSError:
        return False
    try:
        return os.fstat(namespace).st_ino == Path("/proc/thread-self/ns/net").stat().st_ino
    finally:
        os.close(namespace)


def _opened(name: str, flags: int) -> int:
    fd = -1
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, PermissionError):
            what = "/dev/net/tun" if fd < 0 else "TUNSETIFF"
            hint = (
                "run as root, or with the right to open it"
                if fd < 0
                else "run as root, or with CAP_NET_ADMIN"
            )
            raise PrivilegeError(f"{name}: {what}: {error.strerror}", hint=hint) from None
        raise KernelAccessError(f"{name}: TUNSETIFF: {error.strerror}") from None
    return fd
