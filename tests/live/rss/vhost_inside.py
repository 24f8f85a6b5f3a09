# SPDX-License-Identifier: Apache-2.0
"""A job of a guest: vhost-net takes frames from the queues of a steered TAP, as with QEMU and vhost=on.

What QEMU would set up is set up here: for each queue a device of vhost, memory, and a ring of buffers.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import time
from contextlib import ExitStack
from typing import Any

from holdfast.load import open_object
from holdfast.rss.config import RssConfig
from holdfast.rss.qemu_maps import QemuSteering
from holdfast.rss.tap import MultiqueueTap

QUEUES = 4
HEADER = 12
RING, BUFFER = 256, 2048
AVAIL, USED, BUFFERS = 4096, 8192, 16384
SIZE = BUFFERS + RING * BUFFER
PATIENCE = 20.0
# include/uapi/linux/vhost.h
SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 0x4008AF00, 0xAF01, 0x4008AF03
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 0x4008AF10, 0x4028AF11, 0x4008AF12
SET_VRING_KICK, SET_VRING_CALL, NET_SET_BACKEND = 0x4008AF20, 0x4008AF21, 0x4008AF30
VERSION_1 = 1 << 32
WRITE = 2  # VRING_DESC_F_WRITE


class Device:
    """One queue of a TAP, given to vhost; its frames arrive in a ring of buffers."""

    def __init__(self, held: ExitStack, tap_fd: int) -> None:
        self.memory = mmap.mmap(-1, SIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for number in range(RING):
            struct.pack_into("<QIHH", self.memory, 16 * number, BUFFERS + number * BUFFER, BUFFER, WRITE, 0)
            struct.pack_into("<H", self.memory, AVAIL + 4 + 2 * number, number)
        struct.pack_into("<HH", self.memory, AVAIL, 0, RING)
        self.seen = 0
        fd = os.open("/dev/vhost-net", os.O_RDWR)
        held.callback(os.close, fd)
        fcntl.ioctl(fd, SET_OWNER)
        fcntl.ioctl(fd, SET_FEATURES, struct.pack("=Q", VERSION_1))
        fcntl.ioctl(fd, SET_MEM_TABLE, struct.pack("=IIQQQQ", 1, 0, 0, SIZE, address, 0))
        fcntl.ioctl(fd, SET_VRING_NUM, struct.pack("=II", 0, RING))
        fcntl.ioctl(fd, SET_VRING_BASE, struct.pack("=II", 0, 0))
        ring = struct.pack("=IIQQQQ", 0, 0, address, address + USED, address + AVAIL, 0)
        fcntl.ioctl(fd, SET_VRING_ADDR, ring)
        for request in (SET_VRING_KICK, SET_VRING_CALL):
            event = os.eventfd(0)
            held.callback(os.close, event)
            fcntl.ioctl(fd, request, struct.pack("=Ii", 0, event))
        fcntl.ioctl(fd, NET_SET_BACKEND, struct.pack("=Ii", 0, tap_fd))
        held.callback(fcntl.ioctl, fd, NET_SET_BACKEND, struct.pack("=Ii", 0, -1))

    def arrived(self) -> list[bytes]:
        """Frames since the last call."""
        (count,) = struct.unpack_from("<H", self.memory, USED + 2)
        got = []
        while self.seen != count:
            number, size = struct.unpack_from("<II", self.memory, USED + 4 + 8 * (self.seen % RING))
            at = BUFFERS + number * BUFFER
            got.append(self.memory[at + HEADER : at + size])
            self.seen += 1
        return got


def steer(content: bytes, key: bytes, table: list[int], frames: list[bytes]) -> dict[str, Any]:
    """Queues, by vhost's rings, of at most as many frames as a ring has buffers."""
    with ExitStack() as held:
        try:
            vhost = os.open("/dev/vhost-net", os.O_RDWR)
        except OSError as error:
            return {"cannot": f"/dev/vhost-net: {error.strerror}"}
        os.close(vhost)
        loaded = held.enter_context(open_object(content, name="rss-qemu"))
        tap = held.enter_context(MultiqueueTap(QUEUES, header=HEADER))
        devices = [Device(held, fd) for fd in tap.fds]
        QemuSteering(loaded.map, loaded.program("steer").fd).configure(RssConfig(key, table=tuple(table)))
        tap.set_steering(loaded.program("steer").fd)
        queues: list[int | None] = []
        for frame in frames:
            tap.send(frame)
            found, end = None, time.monotonic() + PATIENCE
            while found is None and time.monotonic() < end:
                for number, device in enumerate(devices):
                    if frame in device.arrived():
                        found = number
            queues.append(found)
        return {"queues": queues}
