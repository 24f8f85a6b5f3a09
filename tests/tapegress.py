# SPDX-License-Identifier: Apache-2.0
"""What the network stack may do to a frame before a TAP steers it: tags taken out, data in pages.

Programs on the TAP's tcx egress hook (6.6), which run before the queue is chosen.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast import sys as kernel
from holdfast.rss.tap import MultiqueueTap
from holdfast.terms import AttachType, ProgramType

# include/uapi/linux/sockios.h, if.h, sched.h
SIOCGIFINDEX, SIOCSIFMTU, SIOCGSKNS = 0x8933, 0x8922, 0x894C
CLONE_NEWNET = 0x40000000

MTU = 9000
PAGED = 4400
"""Bytes from which AF_PACKET leaves only the MAC header in the linear part of an skb: more than a page
(net/packet/af_packet.c, packet_alloc_skb)."""


def insn(code: int, registers: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, registers, offset, immediate)


def push_tag(proto: int, tci: int) -> bytes:
    """bpf_skb_vlan_push(skb, proto, tci): the first tag goes into the skb's metadata, not into the frame."""
    order = int.from_bytes(proto.to_bytes(2, "big"), "little" if struct.pack("=H", 1)[0] else "big")
    body = insn(0xB7, 2, immediate=order) + insn(0xB7, 3, immediate=tci) + insn(0x85, immediate=18)
    return body + insn(0xB7, 0, immediate=0) + insn(0x95)  # TCX_PASS


def drop_linear(size: int) -> bytes:
    """Drops frames whose linear part has ``size`` bytes or more."""
    load = insn(0x61, 0x12, 76) + insn(0x61, 0x13, 80)  # r2 = data, r3 = data_end
    check = insn(0x07, 2, immediate=size) + insn(0xB7, 0, immediate=0) + insn(0x2D, 0x32, 1)  # r2 > r3: pass
    return load + check + insn(0xB7, 0, immediate=2) + insn(0x95)  # TCX_DROP


@contextmanager
def egress(tap: MultiqueueTap, insns: bytes) -> Iterator[None]:
    """Run a program on every frame that is sent to ``tap``, before it is steered. Raises OSError."""
    loaded = kernel.prog_load(ProgramType.SCHED_CLS, insns)
    assert loaded.fd is not None, loaded.log
    with loaded.fd, linked(tap, loaded.fd.fileno()):
        yield


@contextmanager
def linked(tap: MultiqueueTap, program: int) -> Iterator[None]:
    sender = tap._sender
    name = struct.pack("16s24x", tap.name.encode())
    index = struct.unpack("16xi20x", fcntl.ioctl(sender, SIOCGIFINDEX, name))[0]
    space = fcntl.ioctl(sender, SIOCGSKNS)
    found: list[kernel.OwnedFd | BaseException] = []

    def attach() -> None:
        # A thread of its own, because its namespace stays the TAP's.
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(space, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            found.append(kernel.link_create(program, index, AttachType.TCX_EGRESS))
        except BaseException as error:
            found.append(error)

    try:
        thread = threading.Thread(target=attach)
        thread.start()
        thread.join()
    finally:
        os.close(space)
    (link,) = found
    if isinstance(link, BaseException):
        raise link
    with link:
        yield


def allow_large_frames(tap: MultiqueueTap) -> None:
    fcntl.ioctl(tap._sender, SIOCSIFMTU, struct.pack("16si20x", tap.name.encode(), MTU))
