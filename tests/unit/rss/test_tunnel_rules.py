# SPDX-License-Identifier: Apache-2.0
"""The rules of tunnels one by one, for fallback and reference: what matches, and what is hashed."""

from __future__ import annotations

import sys
from ipaddress import ip_address

import pytest

from holdfast.errors import UsageError
from holdfast.rss import frames as f
from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Steering
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.parse import hash_input
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashType, TunnelType
from holdfast.rss.vectors import KEY

T, N = HashType, TunnelType
OUTER4, OUTER6 = ("203.0.113.1", "203.0.113.2"), ("2001:db8:c::1", "2001:db8:c::2")
INNER4, INNER6 = ("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")
PORTS = b"\x11\x22\x33\x44"
TCP = f.tcp(0x1122, 0x3344, b"x" * 8)
IPV4, IPV6 = 0x0800, 0x86DD

IN4 = f.ipv4(*INNER4, f.TCP, TCP)
IN6 = f.ipv6(*INNER6, f.TCP, TCP)
FRAME4 = f.ethernet(IN4)
FRAME6 = f.ethernet(IN6)
ARP = f.ethernet(bytes(46), ethertype=0x0806)


def packed(addresses: tuple[str, str], ports: bytes = b"") -> bytes:
    return b"".join(ip_address(address).packed for address in addresses) + ports


def over4(protocol: int, payload: bytes, **how: object) -> bytes:
    return f.ethernet(f.ipv4(*OUTER4, protocol, payload, **how))  # type: ignore[arg-type]


def over6(protocol: int, payload: bytes, **how: object) -> bytes:
    return f.ethernet(f.ipv6(*OUTER6, protocol, payload, **how))  # type: ignore[arg-type]


def udp(port: int, payload: bytes) -> bytes:
    return f.udp(0xABCD, port, payload)


def outer_udp(port: int) -> tuple[HashType, bytes]:
    return T.UDPv4, packed(OUTER4, b"\xab\xcd" + port.to_bytes(2, "big"))


NONE = (T.NONE, b"")
TCP4 = (T.TCPv4, packed(INNER4, PORTS))
TCP6 = (T.TCPv6, packed(INNER6, PORTS))
HOST4, HOST6 = (T.IPv4, packed(OUTER4)), (T.IPv6, packed(OUTER6))
PLAIN, KEYED = f.gre(IPV4, IN4), f.gre(IPV4, IN4, key=1)
NVGRE = f.gre(f.ETHERNET, FRAME4, key=1)
VXLAN = over4(f.UDP, udp(f.VXLAN, f.vxlan(FRAME4)))
GENEVE = udp(f.GENEVE, f.geneve(f.ETHERNET, FRAME4))
HOME = (f.DSTOPTS, f.options(f.pad(4), f.home_address("2001:db8:f::1")))
EX6 = f.ipv6(*INNER6, f.TCP, TCP, extensions=[HOME])

# name: frame, enabled tunnel types, type and input when all hash types are enabled
CASES = {
    # IPIP
    "ipip": (over4(f.IPIP, IN4), N.IPIP, TCP4),
    "ipip not enabled": (over4(f.IPIP, IN4), ALL_TUNNELS & ~N.IPIP, HOST4),
    "ipip with options outside": (over4(f.IPIP, IN4, options=bytes(8)), N.IPIP, TCP4),
    "ipip over ipv6 is none": (over6(f.IPIP, IN4), ALL_TUNNELS, HOST6),
    "ipv6 in ipv4 is none": (over4(41, IN6), ALL_TUNNELS, HOST4),
    "ipip with ipv6 inside": (over4(f.IPIP, IN6), N.IPIP, NONE),
    "ipip, first fragment": (over4(f.IPIP, IN4, flags=1), N.IPIP, HOST4),
    "ipip, later fragment": (over4(f.IPIP, IN4, offset=4), N.IPIP, HOST4),
    "ipip twice is left at the second": (
        over4(f.IPIP, f.ipv4(*INNER4, f.IPIP, IN4)), N.IPIP, (T.IPv4, packed(INNER4)),
    ),
    "ipip, outer packet ends in the inner ports": (
        over4(f.IPIP, IN4, length=20 + 23), N.IPIP, (T.IPv4, packed(INNER4)),
    ),
    "ipip, outer packet ends in the inner addresses": (over4(f.IPIP, IN4, length=20 + 19), N.IPIP, NONE),
    "ipip, outer length 0": (over4(f.IPIP, IN4, length=0), N.IPIP, TCP4),
    "ipip, inner length shorter": (
        over4(f.IPIP, f.ipv4(*INNER4, f.TCP, TCP, length=22)), N.IPIP, (T.IPv4, packed(INNER4)),
    ),
    "ipip, options outside that are not there": (over4(f.IPIP, b"", header_words=15), N.IPIP, HOST4),
    "ipip with nothing inside": (over4(f.IPIP, b""), N.IPIP, NONE),
    # GRE
    "gre": (over4(f.GRE, PLAIN), N.GRE_2784, TCP4),
    "gre with a checksum": (over4(f.GRE, f.gre(IPV4, IN4, checksum=True)), N.GRE_2784, TCP4),
    "gre is not 2890": (over4(f.GRE, PLAIN), ALL_TUNNELS & ~N.GRE_2784, HOST4),
    "gre with a key": (over4(f.GRE, KEYED), N.GRE_2890, TCP4),
    "gre with a sequence number": (over4(f.GRE, f.gre(IPV4, IN4, sequence=1)), N.GRE_2890, TCP4),
    "gre with all fields": (
        over4(f.GRE, f.gre(IPV4, IN4, checksum=True, key=1, sequence=2)), N.GRE_2890, TCP4,
    ),
    "gre with a key is not 2784": (over4(f.GRE, KEYED), ALL_TUNNELS & ~N.GRE_2890, HOST4),
    "gre with ipv6 inside, as 2784": (over4(f.GRE, f.gre(IPV6, IN6)), N.GRE_2784, TCP6),
    "gre with ipv6 inside, as 7676": (over4(f.GRE, f.gre(IPV6, IN6)), N.GRE_7676, TCP6),
    "gre with ipv6 inside and a key, as 7676": (over4(f.GRE, f.gre(IPV6, IN6, key=1)), N.GRE_7676, TCP6),
    "gre over ipv6": (over6(f.GRE, PLAIN), N.GRE_7676, TCP4),
    "gre over ipv6 with a key": (over6(f.GRE, KEYED), N.GRE_7676, TCP4),
    "gre over ipv6 is neither 2784 nor 2890": (over6(f.GRE, KEYED), ALL_TUNNELS & ~N.GRE_7676, HOST6),
    "gre over ipv6 behind extension headers": (
        over6(f.GRE, PLAIN, extensions=[(f.HOPOPTS, f.options()), HOME]), N.GRE_7676, TCP4,
    ),
    "gre with ethernet": (over4(f.GRE, f.gre(f.ETHERNET, FRAME4)), N.GRE_2784, TCP4),
    "gre with a routing field": (over4(f.GRE, f.gre(IPV4, IN4, flags=0x4000)), ALL_TUNNELS, HOST4),
    "gre with bit 4": (over4(f.GRE, f.gre(IPV4, IN4, flags=0x0800)), ALL_TUNNELS, HOST4),
    "gre with bit 5": (over4(f.GRE, f.gre(IPV4, IN4, flags=0x0400)), ALL_TUNNELS, HOST4),
    "gre with bits that are to be ignored": (over4(f.GRE, f.gre(IPV4, IN4, flags=0x03F8)), N.GRE_2784, TCP4),
    "gre of version 1": (over4(f.GRE, f.gre(0x880B, bytes(30), key=1, flags=1)), ALL_TUNNELS, HOST4),
    "gre header cut": (over4(f.GRE, KEYED[:7]), ALL_TUNNELS, HOST4),
    "gre header whole, nothing inside": (over4(f.GRE, KEYED[:8]), N.GRE_2890, NONE),
    "gre with mpls": (over4(f.GRE, f.gre(0x8847, bytes(60))), N.GRE_2784, NONE),
    # NVGRE
    "nvgre": (over4(f.GRE, NVGRE), N.NVGRE, TCP4),
    "nvgre over ipv6": (over6(f.GRE, NVGRE), N.NVGRE, TCP4),
    "nvgre looks like 2890": (over4(f.GRE, NVGRE), N.GRE_2890, TCP4),
    "nvgre without a key": (over4(f.GRE, f.gre(f.ETHERNET, FRAME4)), N.NVGRE, HOST4),
    "nvgre with a checksum": (over4(f.GRE, f.gre(f.ETHERNET, FRAME4, key=1, checksum=True)), N.NVGRE, HOST4),
    "nvgre with ipv4": (over4(f.GRE, KEYED), N.NVGRE, HOST4),
    # GRE in UDP
    "gre in udp": (over4(f.UDP, udp(f.GRE_UDP, PLAIN)), N.GRE_UDP, TCP4),
    "gre in udp with a key": (over4(f.UDP, udp(f.GRE_UDP, KEYED)), N.GRE_UDP, TCP4),
    "gre in udp over ipv6": (over6(f.UDP, udp(f.GRE_UDP, PLAIN)), N.GRE_UDP, TCP4),
    "gre in udp is not gre": (
        over4(f.UDP, udp(f.GRE_UDP, PLAIN)), ALL_TUNNELS & ~N.GRE_UDP, outer_udp(f.GRE_UDP),
    ),
    "gre in udp with dtls": (over4(f.UDP, udp(4755, PLAIN)), ALL_TUNNELS, outer_udp(4755)),
    "gre is not gre in udp": (over4(f.GRE, PLAIN), N.GRE_UDP, HOST4),
    # VXLAN
    "vxlan": (VXLAN, N.VXLAN, TCP4),
    "vxlan with ipv6 inside": (over4(f.UDP, udp(f.VXLAN, f.vxlan(FRAME6))), N.VXLAN, TCP6),
    "vxlan over ipv6": (over6(f.UDP, udp(f.VXLAN, f.vxlan(FRAME4))), N.VXLAN, TCP4),
    "vxlan not enabled": (VXLAN, ALL_TUNNELS & ~N.VXLAN, outer_udp(f.VXLAN)),
    "vxlan by its source port is none": (
        over4(f.UDP, f.udp(f.VXLAN, 9, f.vxlan(FRAME4))), ALL_TUNNELS,
        (T.UDPv4, packed(OUTER4, b"\x12\xb5\x00\x09")),
    ),
    "vxlan without its flag": (
        over4(f.UDP, udp(f.VXLAN, f.vxlan(FRAME4, flags=0))), N.VXLAN, outer_udp(f.VXLAN),
    ),
    "vxlan with reserved flags": (over4(f.UDP, udp(f.VXLAN, f.vxlan(FRAME4, flags=0xFF))), N.VXLAN, TCP4),
    "vxlan, tags inside": (
        over4(f.UDP, udp(f.VXLAN, f.vxlan(f.ethernet(IN4, vlans=[(0x88A8, 1), (0x8100, 2)])))), N.VXLAN, TCP4,
    ),
    "vxlan, tags outside": (
        f.ethernet(f.ipv4(*OUTER4, f.UDP, udp(f.VXLAN, f.vxlan(FRAME4))), vlans=[(0x8100, 3)]), N.VXLAN, TCP4,
    ),
    "vxlan with arp is not hashed": (over4(f.UDP, udp(f.VXLAN, f.vxlan(ARP))), N.VXLAN, NONE),
    "vxlan header cut": (over4(f.UDP, udp(f.VXLAN, f.vxlan(b"")[:7])), N.VXLAN, outer_udp(f.VXLAN)),
    "vxlan with half a mac header": (over4(f.UDP, udp(f.VXLAN, f.vxlan(FRAME4[:13]))), N.VXLAN, NONE),
    "vxlan, extension headers inside": (
        over4(f.UDP, udp(f.VXLAN, f.vxlan(f.ethernet(EX6)))), N.VXLAN,
        (T.TCP_EX, packed(("2001:db8:f::1", INNER6[1]), PORTS)),
    ),
    "vxlan, fragment inside": (
        over4(f.UDP, udp(f.VXLAN, f.vxlan(f.ethernet(f.ipv4(*INNER4, f.TCP, TCP, flags=1))))), N.VXLAN,
        (T.IPv4, packed(INNER4)),
    ),
    "vxlan in a fragment": (
        over4(f.UDP, udp(f.VXLAN, f.vxlan(FRAME4)), flags=1), N.VXLAN, (T.IPv4, packed(OUTER4)),
    ),
    "vxlan in an atomic fragment": (
        over6(f.UDP, udp(f.VXLAN, f.vxlan(FRAME4)), extensions=[(f.FRAGMENT, f.fragment())]), N.VXLAN, TCP4,
    ),
    # VXLAN-GPE
    "gpe with ethernet": (over4(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(FRAME4))), N.VXLAN_GPE, TCP4),
    "gpe with ipv4": (over4(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(IN4, protocol=1))), N.VXLAN_GPE, TCP4),
    "gpe with ipv6": (over6(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(IN6, protocol=2))), N.VXLAN_GPE, TCP6),
    "gpe with nsh": (over4(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(IN4, protocol=4))), N.VXLAN_GPE, NONE),
    "gpe whose next protocol does not count": (
        over4(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(FRAME4, protocol=0, flags=8))), N.VXLAN_GPE, TCP4,
    ),
    "gpe of version 1": (
        over4(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(FRAME4, flags=0x1C))), N.VXLAN_GPE, outer_udp(f.VXLAN_GPE),
    ),
    "gpe for control": (
        over4(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(FRAME4, flags=0x0D))), N.VXLAN_GPE, outer_udp(f.VXLAN_GPE),
    ),
    "gpe is not vxlan": (
        over4(f.UDP, udp(f.VXLAN_GPE, f.vxlan_gpe(FRAME4))), ALL_TUNNELS & ~N.VXLAN_GPE,
        outer_udp(f.VXLAN_GPE),
    ),
    # GENEVE
    "geneve": (over4(f.UDP, GENEVE), N.GENEVE, TCP4),
    "geneve over ipv6": (over6(f.UDP, GENEVE), N.GENEVE, TCP4),
    "geneve with ipv4": (over4(f.UDP, udp(f.GENEVE, f.geneve(IPV4, IN4))), N.GENEVE, TCP4),
    "geneve with ipv6": (over4(f.UDP, udp(f.GENEVE, f.geneve(IPV6, IN6))), N.GENEVE, TCP6),
    "geneve with all options": (
        over4(f.UDP, udp(f.GENEVE, f.geneve(IPV4, IN4, options=bytes(252), flags=0x40))), N.GENEVE, TCP4,
    ),
    "geneve whose options are not there": (
        over4(f.UDP, udp(f.GENEVE, f.geneve(IPV4, IN4, first=0x3F))), N.GENEVE, outer_udp(f.GENEVE),
    ),
    "geneve of version 1": (
        over4(f.UDP, udp(f.GENEVE, f.geneve(IPV4, IN4, first=0x40))), N.GENEVE, outer_udp(f.GENEVE),
    ),
    "geneve for control": (
        over4(f.UDP, udp(f.GENEVE, f.geneve(IPV4, IN4, flags=0x80))), N.GENEVE, outer_udp(f.GENEVE),
    ),
    "geneve not enabled": (over4(f.UDP, GENEVE), ALL_TUNNELS & ~N.GENEVE, outer_udp(f.GENEVE)),
    # no tunnel at all
    "tcp to the port of vxlan": (
        over4(f.TCP, f.tcp(1, f.VXLAN, f.vxlan(FRAME4))), ALL_TUNNELS,
        (T.TCPv4, packed(OUTER4, b"\x00\x01\x12\xb5")),
    ),
    "plain": (FRAME4, ALL_TUNNELS, TCP4),
    "no ip": (ARP, ALL_TUNNELS, NONE),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fallback(case: str) -> None:
    frame, tunnels, expected = CASES[case]
    assert hash_input(frame, ALL_TYPES, tunnels) == expected


@pytest.mark.parametrize("case", CASES)
def test_reference(case: str) -> None:
    frame, tunnels, expected = CASES[case]
    assert reference.select(reference.dissect(frame, tunnels), ALL_TYPES) == expected


def test_nothing_is_entered_unless_asked_for() -> None:
    for frame, _, _ in CASES.values():
        expected = reference.select(reference.dissect(frame), ALL_TYPES)
        assert hash_input(frame, ALL_TYPES) == hash_input(frame, ALL_TYPES, N.NONE) == expected


def test_inner_types_that_are_not_enabled_leave_it_unhashed() -> None:
    # The inner headers are the ones that count: the outer ones are no substitute, whatever is enabled.
    assert hash_input(VXLAN, T.UDPv4 | T.TCPv6, N.VXLAN) == NONE
    assert hash_input(VXLAN, T.IPv4, N.VXLAN) == (T.IPv4, packed(INNER4))


def test_types_by_name() -> None:
    assert TunnelType.parse("vxlan, GENEVE") == N.VXLAN | N.GENEVE
    assert (TunnelType.parse("all"), TunnelType.parse("none")) == (ALL_TUNNELS, N.NONE)
    with pytest.raises(UsageError, match=r"unknown tunnel type 'l2tp'") as caught:
        TunnelType.parse("vxlan,l2tp")
    assert "GRE_2784" in (caught.value.hint or "")


def test_settings() -> None:
    config = RssConfig(KEY, T.TCPv4, (1,), unclassified=2, tunnel_types=N.VXLAN | N.NVGRE)
    assert config.pack_settings()[8:12] == (0x110).to_bytes(4, sys.byteorder)
    with pytest.raises(UsageError, match="0x200"):
        RssConfig(KEY, tunnel_types=TunnelType(0x200))
    steering = Steering(config)
    assert steering.classify(VXLAN).type == T.TCPv4
    steering.set_tunnel_types(N.GENEVE)
    assert steering.classify(VXLAN).type == T.NONE


class Sink:
    """Maps that take everything."""

    def update(self, key: int, value: bytes, /) -> None:
        """Takes it."""


def test_a_program_that_cannot_look_inside_is_not_asked_to() -> None:
    config = RssConfig(KEY, tunnel_types=N.VXLAN)
    simple = KernelSteering(lambda _: Sink(), -1)
    with pytest.raises(UsageError, match="VXLAN") as caught:
        simple.configure(config)
    assert "net/rss-tunnel" in (caught.value.hint or "")
    able = KernelSteering(lambda _: Sink(), -1, supported_tunnel_types=ALL_TUNNELS)
    able.configure(config)
    able.set_tunnel_types(N.GENEVE)
    assert able.config.tunnel_types == N.GENEVE
