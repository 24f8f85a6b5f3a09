# SPDX-License-Identifier: Apache-2.0
"""rtnetlink, as much as devices, qdiscs, classes and filters take: attributes, requests, dumps.

The libraries that were looked at know neither ``multiq`` nor ``flower``, and libbpf puts no class into a
filter; so what they would save is the few lines here. Source: include/uapi/linux/netlink.h, rtnetlink.h,
pkt_cls.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from holdfast.load.netns import in_network_namespace

__all__ = [
    "ETH_P_ALL",
    "NLM_F_CREATE",
    "NLM_F_EXCL",
    "NLM_F_REPLACE",
    "RTM_DELQDISC",
    "RTM_DELTFILTER",
    "RTM_NEWQDISC",
    "RTM_NEWTFILTER",
    "TCA_KIND",
    "TCA_OPTIONS",
    "TCMSG",
    "Refused",
    "Route",
    "attribute",
    "attributes",
    "bpf_options",
    "text",
]

NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
RTM_NEWQDISC: Final = 36
RTM_DELQDISC: Final = 37
RTM_NEWTFILTER: Final = 44
RTM_DELTFILTER: Final = 45
TCA_KIND: Final = 1
TCA_OPTIONS: Final = 2
TCMSG: Final = struct.Struct("=BxxxiIII")
"""``struct tcmsg``: family, interface, handle, parent, and for a filter its priority and protocol."""

ETH_P_ALL: Final = 0x0003
_TCA_BPF_CLASSID, _TCA_BPF_FD, _TCA_BPF_NAME, _TCA_BPF_FLAGS = 3, 6, 7, 8
_TCA_BPF_FLAG_ACT_DIRECT: Final = 1
_NLM_F_REQUEST: Final = 0x001
_NLM_F_ACK: Final = 0x004
_NLM_F_ACK_TLVS: Final = 0x200
_NLM_F_CAPPED: Final = 0x100
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLMSGERR_ATTR_MSG: Final = 1
_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_TYPE: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ROOM: Final = 1 << 18


class Refused(OSError):
    """The kernel's answer to a request: an errno, and its words where it has some (NETLINK_EXT_ACK)."""


def attribute(kind: int, content: bytes) -> bytes:
    """Returns an attribute, padded to 4 bytes."""
    return _ATTRIBUTE.pack(4 + len(content), kind) + content + bytes(-len(content) % 4)


def attributes(content: bytes) -> dict[int, bytes]:
    """Returns attributes by type; what is malformed ends them."""
    found, at = {}, 0
    while at + 4 <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, at)
        if length < 4 or at + length > len(content):
            break
        found[kind & _TYPE] = content[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def bpf_options(program_fd: int, name: str, classid: int | None = None) -> bytes:
    """Returns the options of a filter that is a program; ``classid`` is what it finds in skb->tc_classid."""
    named = b"" if classid is None else attribute(_TCA_BPF_CLASSID, struct.pack("=I", classid))
    return (
        named
        + attribute(_TCA_BPF_FD, struct.pack("=i", program_fd))
        + attribute(_TCA_BPF_NAME, name.encode() + b"\0")
        + attribute(_TCA_BPF_FLAGS, struct.pack("=I", _TCA_BPF_FLAG_ACT_DIRECT))
    )


def text(content: bytes) -> str:
    """Returns the text of an attribute that ends with a zero byte."""
    return content.split(b"\0", 1)[0].decode(errors="replace")


class Route:
    """A socket of NETLINK_ROUTE. A context manager."""

    def __init__(self, namespace: int | None = None) -> None:
        """``namespace`` is a descriptor of a network namespace, which stays the caller's; without one it is
        that of the calling thread. Raises :class:`OSError`.
        """
        self._socket = _open() if namespace is None else in_network_namespace(namespace, _open)
        # Words beside the errno, since 4.12; without the request in the answer, since 4.3.
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                pass
        self._number = 0

    def ask(self, kind: int, content: bytes, flags: int = 0) -> None:
        """Sends a request and waits for its acknowledgement. Raises :class:`Refused`."""
        for _ in self._talk(kind, content, flags | _NLM_F_ACK):
            pass

    def get(self, kind: int, content: bytes) -> bytes:
        """Returns the one message that answers. Raises :class:`Refused`."""
        answers = list(self._talk(kind, content, _NLM_F_ACK))
        if not answers:
            raise Refused(errno.ENODATA, os.strerror(errno.ENODATA))
        return answers[0]

    def dump(self, kind: int, content: bytes) -> list[bytes]:
        """Returns all messages of a dump. Raises :class:`Refused`."""
        return list(self._talk(kind, content, _NLM_F_DUMP))

    def _talk(self, kind: int, content: bytes, flags: int) -> Iterator[bytes]:
        self._number += 1
        header = _HEADER.pack(16 + len(content), kind, flags | _NLM_F_REQUEST, self._number, 0)
        self._socket.send(header + content)
        while True:
            data, at = self._socket.recv(_ROOM), 0
            while at + 16 <= len(data):
                length, what, said, number, _ = _HEADER.unpack_from(data, at)
                body = data[at + 16 : at + max(length, 16)]
                at += max(length, 16) + 3 & ~3
                if number != self._number:
                    continue
                if what == _NLMSG_ERROR:
                    _raise(body, said)
                    return
                if what == _NLMSG_DONE:
                    return
                yield body

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)


def _raise(body: bytes, flags: int) -> None:
    number = -struct.unpack_from("=i", body)[0]
    if not number:
        return
    words = os.strerror(number)
    if flags & _NLM_F_ACK_TLVS:
        # struct nlmsgerr: the errno, the request's header, and what followed it if that was not left out
        at = 20 if flags & _NLM_F_CAPPED else 4 + (struct.unpack_from("=I", body, 4)[0] + 3 & ~3)
        said = attributes(body[at:]).get(_NLMSGERR_ATTR_MSG)
        if said:
            words = text(said)
    raise Refused(number, words)
