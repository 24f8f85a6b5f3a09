# SPDX-License-Identifier: Apache-2.0
"""Jobs of a guest with one virtio-net interface: its RSS settings, and in which queue each frame arrives.

Runs inside of the guest, with the standard library alone.
"""

from __future__ import annotations

import ctypes
import fcntl
import select
import socket
import struct
from pathlib import Path
from typing import Any

GO = 0x88B6  # EtherType for experiments: the frame that says that the guest listens
SOURCE = bytes.fromhex("02000000000f")  # of frames that count

SIOCETHTOOL, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8946, 0x8913, 0x8914
ETHTOOL_GRSSH, ETHTOOL_SRSSH = 0x46, 0x47
ETHTOOL_GCHANNELS = 0x3C
ETH_P_ALL = 3
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
SKF_AD_OFF, SKF_AD_QUEUE = -0x1000, 24


def interface() -> str:
    """The interface that is no loopback, brought up."""
    (name,) = (one.name for one in Path("/sys/class/net").iterdir() if (one / "device").exists())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH22x", name.encode(), 0)
        flags = struct.unpack("16xH22x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | 1))
    return name


def ethtool(name: str, request: bytes) -> bytes:
    """SIOCETHTOOL with a buffer that the kernel may write to."""
    buffer = ctypes.create_string_buffer(request, len(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sQ16x", name.encode(), ctypes.addressof(buffer)))
    return buffer.raw


def settings() -> dict[str, Any]:
    """Key and table that the driver has, and how many queue pairs are in use."""
    name = interface()
    head = struct.Struct("=IIIIBBHI")
    sizes = head.unpack(ethtool(name, head.pack(ETHTOOL_GRSSH, 0, 0, 0, 0, 0, 0, 0)))
    entries, length = sizes[2], sizes[3]
    asked = head.pack(ETHTOOL_GRSSH, 0, entries, length, 0, 0, 0, 0) + bytes(4 * entries + length)
    answer = ethtool(name, asked)[head.size :]
    table = list(struct.unpack_from(f"={entries}I", answer))
    channels = struct.unpack("=9I", ethtool(name, struct.pack("=9I", ETHTOOL_GCHANNELS, *(0,) * 8)))
    return {
        "name": name,
        "mac": bytes.fromhex(Path(f"/sys/class/net/{name}/address").read_text().strip().replace(":", "")),
        "features": Path(f"/sys/class/net/{name}/device/features").read_text().strip(),
        "key": answer[4 * entries : 4 * entries + length],
        "table": table,
        "queues": channels[8],
    }


def change(key: bytes, table: list[int]) -> dict[str, Any]:
    """Another key and another table, in one step, and what the driver then has."""
    head = struct.pack("=IIIIBBHI", ETHTOOL_SRSSH, 0, len(table), len(key), 0, 0, 0, 0)
    ethtool(interface(), head + struct.pack(f"={len(table)}I", *table) + key)
    return settings()


def of_queue(number: int) -> bytes:
    """A filter for frames whose skb->queue_mapping is ``number``: the queue + 1, or 0 where none is known."""
    ld_abs, jeq, ret = 0x20, 0x15, 0x06
    steps = [(ld_abs, 0, 0, SKF_AD_OFF + SKF_AD_QUEUE & 0xFFFFFFFF), (jeq, 0, 1, number)]
    return b"".join(struct.pack("=HBBI", *one) for one in [*steps, (ret, 0, 0, 0x40000), (ret, 0, 0, 0)])


def listen(frames: int, queues: int) -> list[list[int]]:
    """(queue, number in its last four bytes) of each frame that arrives; -1 for one without a queue.

    Says that it listens by a frame of its own; ends when all are there, or none came for twenty seconds.
    """
    name = interface()
    sockets: dict[int, tuple[int, socket.socket]] = {}
    for queue in range(-1, queues):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        code = of_queue(queue + 1)
        held = ctypes.create_string_buffer(code, len(code))
        one.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
        )
        one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        one.bind((name, ETH_P_ALL))
        one.setblocking(False)
        sockets[one.fileno()] = queue, one
    poll = select.poll()
    for fd in sockets:
        poll.register(fd, select.POLLIN)
    got: list[list[int]] = []
    sender = sockets[min(sockets)][1]
    sender.send(b"\xff" * 6 + SOURCE + struct.pack("!H", GO) + bytes(46))
    while len(got) < frames:
        ready = poll.poll(20_000)
        if not ready:
            break
        for fd, _ in ready:
            queue, one = sockets[fd]
            data = one.recv(1 << 16)
            if data[6:12] == SOURCE and data[12:14] != struct.pack("!H", GO):
                got.append([queue, int.from_bytes(data[-4:], "big")])
    for _, one in sockets.values():
        one.close()
    return got
