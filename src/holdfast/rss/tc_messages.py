# SPDX-License-Identifier: Apache-2.0
"""What tc says over netlink: qdiscs, the classifier of BPF, flower with a jump to a chain, statistics.

Source: include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h, gen_stats.h, tc_act/tc_gact.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.load.netlink import (
    ETH_P_ALL,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    TCA_KIND,
    TCA_OPTIONS,
    TCMSG,
    Refused,
    Route,
    attribute,
    attributes,
    bpf_options,
    text,
)

__all__ = [
    "ETH_P_ALL",
    "ROOT",
    "Device",
    "Filter",
    "Tun",
    "add_bpf_filter",
    "add_jump",
    "add_qdisc",
    "class_packets",
    "delete_filter",
    "delete_root",
    "device",
    "filters",
    "indices",
    "root_qdisc",
]

ROOT: Final = 0xFFFFFFFF
_RTM_GETLINK: Final = 18
_RTM_GETQDISC: Final = 38
_RTM_GETTCLASS: Final = 42
_RTM_GETTFILTER: Final = 46
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NUM_TX_QUEUES = 3, 18, 31
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFF_TAP: Final = 2
_TCA_STATS2, _TCA_CHAIN = 7, 11
_TCA_STATS_BASIC, _TCA_STATS_PKT64 = 1, 8
_TCA_FLOWER_ACT: Final = 3
_TCA_ACT_KIND, _TCA_ACT_OPTIONS = 1, 2
_TCA_GACT_PARMS: Final = 2
_TC_ACT_GOTO_CHAIN: Final = 2 << 28


@dataclass(frozen=True, slots=True)
class Device:
    """A network device; ``queues`` is how many transmit queues it was created with, ``kind`` its driver."""

    name: str
    index: int
    queues: int
    kind: str | None
    tun: Tun | None = None


@dataclass(frozen=True, slots=True)
class Tun:
    """What a TUN or TAP device is; ``attached`` counts the queues that a process has open and in service."""

    is_tap: bool
    packet_information: bool
    vnet_header: bool
    persistent: bool
    multiqueue: bool
    attached: int


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of a root qdisc; ``options`` are its kind's own attributes."""

    kind: str
    priority: int
    protocol: int
    chain: int
    options: dict[int, bytes]


def device(route: Route, name: str) -> Device | None:
    """Returns the device of that name, None without one. Raises :class:`Refused`."""
    request = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + b"\0")
    try:
        body = route.get(_RTM_GETLINK, request)
    except Refused as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    (index,) = struct.unpack_from("=i", body, 4)
    said = attributes(body[16:])
    (queues,) = struct.unpack("=I", said.get(_IFLA_NUM_TX_QUEUES, b"\1\0\0\0"))
    info = attributes(said.get(_IFLA_LINKINFO, b""))
    kind = text(info.get(_IFLA_INFO_KIND, b"")) or None
    tun = _tun(attributes(info[_IFLA_INFO_DATA])) if kind == "tun" and _IFLA_INFO_DATA in info else None
    return Device(text(said[_IFLA_IFNAME]), index, queues, kind, tun)


def _tun(data: dict[int, bytes]) -> Tun:
    # IFLA_TUN_*: 3 type, 4 packet information, 5 header of virtio, 6 persistent, 7 multiqueue, 8 queues
    kind, information, header, persistent, multiqueue = (data.get(one, b"\0")[0] for one in range(3, 8))
    (attached,) = struct.unpack("=I", data.get(8, bytes(4)))
    return Tun(
        kind == _IFF_TAP, bool(information), bool(header), bool(persistent), bool(multiqueue), attached
    )


def indices(route: Route) -> list[int]:
    """Returns the numbers of all devices of the namespace. Raises :class:`Refused`."""
    return [struct.unpack_from("=i", body, 4)[0] for body in route.dump(_RTM_GETLINK, bytes(16))]


def root_qdisc(route: Route, index: int) -> tuple[str, int] | None:
    """Returns kind and handle of the root qdisc; handle 0 is one that nobody asked for. None without one."""
    # A dump of all devices: asking for one device's qdiscs came with 4.20 and is not heeded by all.
    for body in route.dump(_RTM_GETQDISC, TCMSG.pack(0, index, 0, 0, 0)):
        _, at, handle, parent, _ = TCMSG.unpack_from(body)
        if at == index and parent == ROOT:
            return text(attributes(body[20:])[TCA_KIND]), handle
    return None


def add_qdisc(route: Route, index: int, kind: str, handle: int, options: bytes | None = None) -> None:
    """Puts a root qdisc of that kind, with no classes of ours, in place of the default one; ``options`` for
    one that is none of ``multiq``, ``prio`` and ``htb``.

    Raises :class:`Refused`: ENOENT for a kind that the kernel has not, EOPNOTSUPP for a device with one
    queue.
    """
    known = {
        "multiq": struct.pack("=HH", 0, 0),  # one band for each queue of the device
        "prio": struct.pack("=i16B", 2, *(0,) * 16),
        "htb": attribute(2, struct.pack("=5I", 3, 10, 0, 0, 0)),  # TCA_HTB_INIT
    }
    content = TCMSG.pack(0, index, handle, ROOT, 0) + attribute(TCA_KIND, kind.encode() + b"\0")
    content += attribute(TCA_OPTIONS, known[kind] if options is None else options)
    route.ask(RTM_NEWQDISC, content, NLM_F_CREATE | NLM_F_EXCL)


def delete_root(route: Route, index: int) -> None:
    """Takes the root qdisc away, with its filters; the default one comes back. Raises :class:`Refused`."""
    route.ask(RTM_DELQDISC, TCMSG.pack(0, index, 0, ROOT, 0))


def add_bpf_filter(
    route: Route, index: int, parent: int, priority: int, classid: int, program_fd: int, chain: int
) -> None:
    """Adds a direct-action classifier whose program finds ``classid``'s minor number in skb->tc_classid."""
    options = bpf_options(program_fd, "rss_tc", classid)
    _add(route, "bpf", index, parent, priority, ETH_P_ALL, options, chain)


def add_jump(
    route: Route, index: int, parent: int, priority: int, protocol: int, keys: bytes, chain: int
) -> None:
    """Adds a flower filter of chain 0: what matches ``keys`` goes on in ``chain``."""
    gact = struct.pack("=IIiii", 0, 0, _TC_ACT_GOTO_CHAIN | chain, 0, 0)
    action = attribute(_TCA_ACT_KIND, b"gact\0") + attribute(
        _TCA_ACT_OPTIONS, attribute(_TCA_GACT_PARMS, gact)
    )
    options = keys + attribute(_TCA_FLOWER_ACT, attribute(1, action))
    _add(route, "flower", index, parent, priority, protocol, options, 0)


def _add(
    route: Route,
    kind: str,
    index: int,
    parent: int,
    priority: int,
    protocol: int,
    options: bytes,
    chain: int,
) -> None:
    content = TCMSG.pack(0, index, 0, parent, priority << 16 | socket.htons(protocol))
    content += attribute(TCA_KIND, kind.encode() + b"\0")
    if chain:
        content += attribute(_TCA_CHAIN, struct.pack("=I", chain))
    content += attribute(TCA_OPTIONS, options)
    route.ask(RTM_NEWTFILTER, content, NLM_F_CREATE | NLM_F_EXCL)


def delete_filter(
    route: Route, index: int, parent: int, priority: int, protocol: int, kind: str, chain: int
) -> None:
    """Deletes a priority of a chain. Raises :class:`Refused`, ENOENT if there is none."""
    content = TCMSG.pack(0, index, 0, parent, priority << 16 | socket.htons(protocol))
    content += attribute(TCA_KIND, kind.encode() + b"\0")
    if chain:
        content += attribute(_TCA_CHAIN, struct.pack("=I", chain))
    route.ask(RTM_DELTFILTER, content)


def filters(route: Route, index: int, parent: int) -> Iterator[Filter]:
    """Yields the filters of a qdisc, of all chains. Raises :class:`Refused`."""
    for body in route.dump(_RTM_GETTFILTER, TCMSG.pack(0, index, 0, parent, 0)):
        _, _, handle, _, info = TCMSG.unpack_from(body)
        said = attributes(body[20:])
        if not handle:  # the head of a priority
            continue
        (chain,) = struct.unpack("=I", said.get(_TCA_CHAIN, bytes(4)))
        options = attributes(said.get(TCA_OPTIONS, b""))
        yield Filter(text(said[TCA_KIND]), info >> 16, socket.ntohs(info & 0xFFFF), chain, options)


def class_packets(route: Route, index: int, major: int) -> dict[int, int]:
    """Returns packets that the classes of a qdisc have sent, by queue: ``mq`` and ``multiq`` have a class for
    each queue, minor number queue + 1. Raises :class:`Refused`.
    """
    found = {}
    for body in route.dump(_RTM_GETTCLASS, TCMSG.pack(0, index, 0, 0, 0)):
        handle = TCMSG.unpack_from(body)[2]
        if handle >> 16 != major >> 16 or not handle & 0xFFFF:
            continue
        stats = attributes(attributes(body[20:]).get(_TCA_STATS2, b""))
        packets = 0
        if len(basic := stats.get(_TCA_STATS_BASIC, b"")) >= 12:
            packets = struct.unpack_from("=QI", basic)[1]
        if len(wide := stats.get(_TCA_STATS_PKT64, b"")) >= 8:
            (packets,) = struct.unpack_from("=Q", wide)
        found[(handle & 0xFFFF) - 1] = packets
    return found
