# SPDX-License-Identifier: Apache-2.0
"""Frames from a grammar of headers, honest and broken, for the differential tests of RSS.

The grammar asks a :class:`Pick` for every choice. Hypothesis as the picker finds a small example
of what is wrong; a seeded generator as the picker is a hundred times faster and makes the numbers.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from holdfast.rss import frames as f
from holdfast.rss.config import RssConfig
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashType, TunnelType
from holdfast.rss.vectors import KEY

T = TypeVar("T")

COUNT = int(os.environ.get("HOLDFAST_RSS_FRAMES", "5000"))
"""Frames that each program is compared with the reference on; `make test-slow` asks for 200,000."""


class Pick(Protocol):
    def one(self, things: Sequence[T]) -> T: ...
    def number(self, low: int, high: int) -> int: ...
    def blob(self, low: int, high: int) -> bytes: ...


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, things: Sequence[T]) -> T:
        return things[int(self._random.random() * len(things))]

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def blob(self, low: int, high: int) -> bytes:
        return self._random.randbytes(self.number(low, high))


class Drawn:
    """Choices of hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def one(self, things: Sequence[T]) -> T:
        return self._draw(st.sampled_from(things))

    def number(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def blob(self, low: int, high: int) -> bytes:
        return self._draw(st.binary(min_size=low, max_size=high))


# Few addresses, so that source, destination, home and routed address are often in a telling relation.
ADDRESSES4 = ["10.0.0.1", "192.0.2.77", "255.255.255.255", "66.9.149.187", "0.0.0.0", "8.0.69.0", ""]
ADDRESSES6 = ["fe80::1", "2001:db8::2", "3ffe:2501:200:1fff::7", "ff02::1", "::", "2001:db8:1:2:3:4:5:6", ""]
PROTOCOLS = [f.TCP, f.UDP] * 16 + [1, 58, 59, 132, 136, 47, 4, 41, 253, 0, 43, 44, 50, 51, 60, 135, 140]
# Mostly what the layer above really has (None), sometimes a lie about it.
LENGTHS = [None] * 60 + [0, 1, 8, 19, 20, 23, 24, 39, 40, 44, 60, 1000]


def address4(pick: Pick) -> str:
    return pick.one(ADDRESSES4) or str(IPv4Address(pick.number(0, 2**32 - 1)))


def address6(pick: Pick) -> str:
    return pick.one(ADDRESSES6) or str(IPv6Address(pick.number(0, 2**128 - 1)))


def segment(pick: Pick, protocol: int) -> bytes:
    if protocol not in (f.TCP, f.UDP):
        return pick.blob(0, 24)
    make = f.tcp if protocol == f.TCP else f.udp
    whole = make(pick.number(0, 0xFFFF), pick.number(0, 0xFFFF))
    return whole[: pick.one([20] * 8 + [4, 3, 0])]


# The ports of tunnels, and two that are none: RFC 8086 with DTLS, and the VXLAN of old.
PORTS = [f.VXLAN] * 3 + [f.VXLAN_GPE, f.GENEVE, f.GRE_UDP] * 3 + [4755, 8472]
INSIDE = [0x0800, 0x86DD, f.ETHERNET] * 5 + [0x8847, 0x0806, 0]


def carried(pick: Pick, depth: int) -> tuple[int, bytes]:
    """A protocol and what it carries: a segment, or a tunnel with another packet; at most three packets."""
    if depth > 1 or pick.number(0, 4 if depth else 1):
        protocol = pick.one(PROTOCOLS)
        return protocol, segment(pick, protocol)
    protocol = pick.one([f.UDP] * 10 + [f.GRE] * 7 + [f.IPIP] * 4 + [41])
    if protocol == f.UDP:
        return protocol, f.udp(pick.number(0, 0xFFFF), port := pick.one(PORTS), udp_tunnel(pick, port, depth))
    if protocol == f.GRE:
        return protocol, gre(pick, depth)
    return protocol, pick.one([ipv4, ipv4, ipv4, ipv6])(pick, depth + 1)


def udp_tunnel(pick: Pick, port: int, depth: int) -> bytes:
    if port == f.GENEVE:
        kind = pick.one(INSIDE)
        options = bytes(4 * pick.one([0, 0, 0, 1, 2, 63]))
        first = pick.one([None] * 16 + [0, 1, 0x3F, 0x40, 0x80])
        flags = pick.one([0] * 9 + [0x40, 0x80, 1])
        return f.geneve(kind, inside(pick, kind, depth), options=options, first=first, flags=flags)
    if port == f.VXLAN_GPE:
        protocol = pick.one([1, 1, 2, 2, 3, 3, 4, 0])
        kind = {1: 0x0800, 2: 0x86DD}.get(protocol, f.ETHERNET)
        flags = pick.one([0x0C, 0x0C, 0x0C, 0x0E, 0x08, 0x0D, 0x1C, 0x00])
        return f.vxlan_gpe(inside(pick, kind, depth), protocol=protocol, flags=flags)
    if port in (f.GRE_UDP, 4755):
        return gre(pick, depth)
    return f.vxlan(inside(pick, f.ETHERNET, depth), flags=pick.one([8] * 8 + [0, 0x0C, 0x88, 0xFF]))


def gre(pick: Pick, depth: int) -> bytes:
    kind = pick.one(INSIDE)
    if pick.one([True, False, False]):  # as NVGRE has it
        return f.gre(f.ETHERNET, inside(pick, f.ETHERNET, depth), key=1)
    return f.gre(
        kind,
        inside(pick, kind, depth),
        checksum=not pick.number(0, 3),
        key=pick.one([None, 7]),
        sequence=pick.one([None, None, None, 9]),
        # bits that are ignored, and bits that are not: routing, bits 4 and 5, versions
        flags=pick.one([0] * 12 + [0x08, 0x01F0, 0x4000, 0x0800, 0x0400, 1, 4]),
    )


def inside(pick: Pick, ethertype: int, depth: int) -> bytes:
    """What a tunnel carries: what its EtherType says, mostly."""
    make = {0x0800: ipv4, 0x86DD: ipv6}.get(ethertype)
    packet = (make or pick.one([ipv4, ipv6]))(pick, depth + 1)
    if ethertype != f.ETHERNET:
        return packet
    return f.ethernet(packet, ethertype=pick.one(ETHERTYPES), vlans=pick.one(VLANS))


def ipv4(pick: Pick, depth: int = 0) -> bytes:
    protocol, payload = carried(pick, depth)
    return f.ipv4(
        address4(pick),
        address4(pick),
        protocol,
        payload,
        options=bytes(4 * pick.one([0, 0, 0, 1, 2, 10])),
        flags=pick.one([0, 2, 2, 2, 2, 2, 2, 1, 3, 4]),
        offset=pick.one([0] * 16 + [1, 185, 0x1FFF]),
        length=pick.one(LENGTHS),
        header_words=pick.one([None] * 28 + [0, 4, 5, 15]),
    )


def option(pick: Pick) -> bytes:
    kind = pick.one("pppphhhhhoostT")
    if kind == "p":
        return f.pad(pick.number(1, 9))
    if kind == "h":
        return f.home_address(address6(pick))
    if kind == "o":
        body = pick.blob(0, 20)
        return bytes((pick.number(1, 255), len(body))) + body
    return {"s": bytes((201, 16)), "t": bytes((201, 15)) + bytes(15), "T": bytes((201, 17)) + bytes(17)}[kind]


def destination_options(pick: Pick) -> bytes:
    each = [option(pick) for _ in range(pick.number(0, 3))]
    each[:0] = [f.pad(1)] * pick.one([0] * 8 + [13, 14, 15, 16, 17])
    if pick.one([True, False]):
        # The area ends with the option: nothing behind it but what rounds up to 8 bytes.
        each.append(f.pad(4 if not each else pick.number(1, 8)))
        each.append(f.home_address(address6(pick)))
    return f.options(*each, length=pick.one([None] * 10 + [0, 1, 2, 255]))


def extension(pick: Pick) -> tuple[int, bytes]:
    kind = pick.one(
        [f.DSTOPTS] * 6 + [f.ROUTING] * 4 + [f.FRAGMENT] * 2 + [f.AH, f.ESP, f.HOPOPTS, 135, 139, 140]
    )
    if kind == f.DSTOPTS:
        return kind, destination_options(pick)
    if kind == f.ROUTING:
        left, routing_type = pick.one([1, 1, 1, 1, 0, 2]), pick.one([2, 2, 2, 2, 0, 3])
        return kind, f.routing2(address6(pick), segments_left=left, kind=routing_type)
    if kind == f.FRAGMENT:
        return kind, f.fragment(offset=pick.one([0, 0, 0, 1, 0x1FFF]), more=pick.one([False, False, True]))
    if kind == f.AH:
        return kind, f.authentication(bytes(pick.one([0, 4, 12, 16])))
    return kind, f.extension(pick.blob(0, 30))


def ipv6(pick: Pick, depth: int = 0) -> bytes:
    protocol, payload = carried(pick, depth)
    filler = [(f.HOPOPTS, f.extension(bytes(6)))] * pick.one([0] * 12 + [5, 6, 7, 8])
    return f.ipv6(
        address6(pick),
        address6(pick),
        protocol,
        payload,
        extensions=filler + [extension(pick) for _ in range(pick.one([0, 0, 0, 0, 1, 1, 2, 2, 3, 4]))],
        length=pick.one(LENGTHS),
    )


ETHERTYPES = [None] * 50 + [0x0800, 0x86DD, 0x8100, 0x88A8, 0x0806, 0x0040]
VLANS: list[tuple[tuple[int, int], ...]] = [()] * 10
VLANS += [((0x8100, 5),), ((0x88A8, 9),), ((0x88A8, 1), (0x8100, 2)), ((0x8100, 1),) * 3]


def frame(pick: Pick) -> bytes:
    """An Ethernet frame of 15 bytes at least, which is the least that BPF_PROG_TEST_RUN takes."""
    make = pick.one([ipv4] * 8 + [ipv6] * 10 + [lambda pick: pick.blob(0, 60)])
    whole = f.ethernet(make(pick), ethertype=pick.one(ETHERTYPES), vlans=pick.one(VLANS))
    if pick.one([False] * 7 + [True]):
        whole = whole[: pick.number(14, len(whole))]
    if pick.one([False] * 7 + [True]):
        whole = flipped(pick, whole)
    whole += pick.one([b"", b"", b"", bytes(6), b"\x01\xbb" * 13])
    return whole.ljust(15, b"\0")


def flipped(pick: Pick, whole: bytes) -> bytes:
    """``whole`` with one to three bytes behind the addresses of the MAC header changed."""
    changed = bytearray(whole)
    for _ in range(pick.number(1, 3) if len(whole) > 12 else 0):
        changed[pick.number(12, len(whole) - 1)] = pick.number(0, 255)
    return bytes(changed)


def types(pick: Pick) -> HashType:
    return pick.one([ALL_TYPES, HashType(pick.number(0, 0x1FF))])


def tunnels(pick: Pick) -> TunnelType:
    return pick.one([ALL_TUNNELS, ALL_TUNNELS, TunnelType(pick.number(0, 0x1FF))])


def config(pick: Pick, *, inner: bool = False) -> RssConfig:
    """Settings whose queue tells as much of the hash as a table can; with tunnels if ``inner``."""
    length = pick.one([512, 512, 512, 128, 2, 1])
    key = pick.one([KEY, pick.blob(40, 52)])
    table = tuple(index + 1000 for index in range(length))
    enabled = tunnels(pick) if inner else TunnelType.NONE
    return RssConfig(key, types(pick), table, unclassified=7, tunnel_types=enabled)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    return frame(Drawn(draw))


@st.composite
def hash_types(draw: st.DrawFn) -> HashType:
    return types(Drawn(draw))


@st.composite
def tunnel_types(draw: st.DrawFn) -> TunnelType:
    return tunnels(Drawn(draw))


@st.composite
def configs(draw: st.DrawFn, inner: bool = False) -> RssConfig:
    return config(Drawn(draw), inner=inner)
