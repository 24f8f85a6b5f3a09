# SPDX-License-Identifier: Apache-2.0
"""A multiqueue TAP in a network namespace of its own, for tests and demonstrations.

The namespace belongs to a thread that ends once everything is open; from then on only the
descriptors keep namespace and TAP alive. Closing them, or the end of the process however it comes,
removes both: there is nothing to clean up, and nothing of the machine's network is touched.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.errors import HoldfastError, KernelAccessError, PrivilegeError, UsageError

__all__ = ["MultiqueueTap"]

# include/uapi/linux/if_tun.h; the steering ioctl is declared _IOR and yet reads its argument
_TUNSETIFF = 0x400454CA
_TUNSETQUEUE = 0x400454D9
_TUNSETSTEERINGEBPF = 0x800454E0
_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_TUNSETVNETHDRSZ = 0x400454D8
_IFF_ATTACH_QUEUE = 0x0200
_IFF_DETACH_QUEUE = 0x0400
_MAX_TAP_QUEUES = 256
# include/uapi/linux/sockios.h, if.h, if_ether.h, sched.h
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x0001
_ETH_P_ALL = 0x0003
_CLONE_NEWNET = 0x40000000

_ROOM = 65536 + 64  # bytes; the largest frame, and a margin


def _unshare_network() -> None:
    # os.unshare exists from Python 3.12 on; remove the other branch when 3.11 is no longer supported.
    if hasattr(os, "unshare"):
        os.unshare(_CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare(CLONE_NEWNET)")


def _in_new_network(
    opened: ExitStack, name: str, queues: int, header: int
) -> tuple[list[int], socket.socket]:
    _unshare_network()
    # No neighbour discovery of the kernel's own may turn up among the frames. Without IPv6 there is
    # no such file, and no such frame either. /proc/sys/net is the calling thread's namespace.
    for scope in ("default", "all"):
        try:
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EROFS, errno.EACCES):
                raise
            # Read-only in some containers: foreign frames then come, and are told apart by their bytes.
    kind = _IFF_TAP | _IFF_NO_PI | _IFF_MULTI_QUEUE | (_IFF_VNET_HDR if header else 0)
    request = struct.pack("16sH22x", name.encode(), kind)
    fds = []
    for _ in range(queues):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        opened.callback(os.close, fd)
        fcntl.ioctl(fd, _TUNSETIFF, request)
        if header:
            fcntl.ioctl(fd, _TUNSETVNETHDRSZ, bytearray(struct.pack("=i", header)))
        fds.append(fd)
    sender = opened.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    flags = struct.unpack(
        "16xH22x", fcntl.ioctl(sender, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
    )[0]
    fcntl.ioctl(sender, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | _IFF_UP))
    sender.bind((name, 0))
    return fds, sender


class MultiqueueTap:
    """``queues`` descriptors of one TAP, and a socket that sends to it as the host would.

    A context manager; closing removes the TAP. A frame given to :meth:`send` passes the steering
    program, is put in a queue and can then be read from that queue's descriptor. With ``header``, 10, 12 or
    20, it comes with that many bytes of virtio-net header before it; :meth:`receive` leaves them there.

    Raises :class:`~holdfast.errors.PrivilegeError` without CAP_NET_ADMIN and CAP_SYS_ADMIN (the
    namespace), :class:`~holdfast.errors.KernelAccessError` when the kernel has no TAP to offer.
    """

    def __init__(self, queues: int = 4, *, name: str = "hfrss0", header: int = 0) -> None:
        if not 1 <= queues <= _MAX_TAP_QUEUES:
            raise UsageError(f"a TAP with {queues} queues", hint="give 1 to 256 queues")
        if not 1 <= len(name.encode()) <= 15:
            raise UsageError(f"a TAP named {name!r}", hint="give a name of 1 to 15 bytes")
        self.name = name
        self._opened = ExitStack()
        self.fds: list[int] = []
        failure: list[BaseException] = []

        def work() -> None:
            try:
                self.fds, self._sender = _in_new_network(self._opened, name, queues, header)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                failure.append(error)

        # A thread, not setns() and back: nothing then can leave this process in the wrong namespace.
        thread = threading.Thread(target=work, name="tap-namespace")
        thread.start()
        thread.join()
        if failure:
            self._opened.close()
            raise self._explain(failure[0]) from None
        self._poll = select.poll()
        for fd in self.fds:
            self._poll.register(fd, select.POLLIN)
        self._queue_of_fd = {fd: queue for queue, fd in enumerate(self.fds)}

    @staticmethod
    def _explain(error: BaseException) -> BaseException:
        if not isinstance(error, OSError):
            return error
        if error.errno in (errno.EPERM, errno.EACCES):
            return PrivilegeError(
                f"cannot make a TAP in a network namespace of its own: {error.strerror}",
                hint="run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN",
            )
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            return KernelAccessError(
                f"this kernel offers no TAP: {error.strerror} ({error.filename or 'TUNSETIFF'})",
                hint="load the module tun, and give a container /dev/net/tun",
            )
        return KernelAccessError(f"cannot make a TAP: {error}")

    @property
    def queues(self) -> int:
        """Returns the number of queues."""
        return len(self.fds)

    def set_steering(self, program_fd: int | None) -> None:
        """Attaches a SOCKET_FILTER program that returns the queue, or detaches the one there is (None).

        The TAP keeps the program alive; the descriptor stays the caller's. One queue alone is never
        steered: the kernel accepts the program and does not run it.
        """
        wanted = -1 if program_fd is None else program_fd
        try:
            # Mutable, because fcntl then hands the kernel a pointer to exactly these four bytes.
            fcntl.ioctl(self.fds[0], _TUNSETSTEERINGEBPF, bytearray(struct.pack("i", wanted)))
        except OSError as error:
            raise _ioctl_error("TUNSETSTEERINGEBPF", error) from None

    def detach_queue(self, queue: int) -> None:
        """Takes a queue out of service. The kernel then gives its number to the queue that was last."""
        self._queue_ioctl(queue, _IFF_DETACH_QUEUE)

    def attach_queue(self, queue: int) -> None:
        """Puts a queue back in service, as the last one."""
        self._queue_ioctl(queue, _IFF_ATTACH_QUEUE)

    def _queue_ioctl(self, queue: int, flags: int) -> None:
        try:
            fcntl.ioctl(self.fds[queue], _TUNSETQUEUE, struct.pack("16xH22x", flags))
        except OSError as error:
            raise _ioctl_error("TUNSETQUEUE", error) from None

    def send(self, frame: bytes) -> None:
        """Sends an Ethernet frame, 14 to 1514 bytes and 4 more with a VLAN tag, towards the TAP."""
        try:
            self._sender.send(frame)
        except OSError as error:
            problem = f"TAP {self.name} did not take a frame of {len(frame)} bytes: {error.strerror}"
            raise KernelAccessError(problem) from None

    def receive(self, timeout: float = 0.0) -> list[tuple[int, bytes]]:
        """Returns what waits in the queues, as (queue, frame), in order within each queue.

        Waits at most ``timeout`` seconds for the first frame.
        """
        got = []
        for fd, _ in self._poll.poll(timeout * 1000):
            while True:
                try:
                    got.append((self._queue_of_fd[fd], os.read(fd, _ROOM)))
                except BlockingIOError:
                    break
        return got

    def deliver(self, frame: bytes, timeout: float = 1.0) -> int | None:
        """Sends ``frame`` and returns the queue where it arrived; None if it did not in ``timeout`` seconds.

        Other frames that turn up meanwhile are dropped.
        """
        self.send(frame)
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            for queue, got in self.receive(left):
                if got == frame:
                    return queue
        return None

    def close(self) -> None:
        """Removes the TAP; closing twice is no error."""
        self._opened.close()
        self.fds = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ioctl_error(name: str, error: OSError) -> HoldfastError:
    if error.errno == errno.EINVAL:
        return UsageError(f"{name}: {error.strerror}", hint="give the descriptor of a SOCKET_FILTER program")
    return KernelAccessError(f"{name}: {error.strerror}")
