# SPDX-License-Identifier: Apache-2.0
"""The rules one by one, for the fallback and for the reference: what each type does, and what it does not."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from holdfast.rss import frames as f
from holdfast.rss import reference
from holdfast.rss.parse import hash_input
from holdfast.rss.terms import ALL_TYPES, HashType

A4, B4 = "192.0.2.1", "198.51.100.2"
A6, B6, HOME, ROUTED = "2001:db8::1", "2001:db8::2", "2001:db8:f::1", "2001:db8:f::2"
PORTS = b"\x11\x22\x33\x44"
TCP = f.tcp(0x1122, 0x3344)
UDP = f.udp(0x1122, 0x3344)


def packed(*addresses: str, ports: bytes = b"") -> bytes:
    return b"".join(ip_address(address).packed for address in addresses) + ports


def v4(**how: object) -> bytes:
    return f.ethernet(f.ipv4(A4, B4, f.TCP, TCP, **how))  # type: ignore[arg-type]


def v6(*extensions: tuple[int, bytes], protocol: int = f.TCP, payload: bytes = TCP, **how: int) -> bytes:
    return f.ethernet(f.ipv6(A6, B6, protocol, payload, extensions=extensions, **how))


HOME_OPTION = (f.DSTOPTS, f.options(f.pad(4), f.home_address(HOME)))
ROUTING2 = (f.ROUTING, f.routing2(ROUTED))
HOP = (f.HOPOPTS, f.options())
NONE = (HashType.NONE, b"")
T = HashType
PLAIN4, PORTS4 = packed(A4, B4), packed(A4, B4, ports=PORTS)
PLAIN6, PORTS6 = packed(A6, B6), packed(A6, B6, ports=PORTS)
MOBILE, MOBILE_PORTS = packed(HOME, ROUTED), packed(HOME, ROUTED, ports=PORTS)
UDP6 = {"protocol": f.UDP, "payload": UDP}
TAGGED = f.ipv4(A4, B4, f.TCP, TCP)

CASES = {
    # the order of types
    "tcp4": (v4(), ALL_TYPES, (T.TCPv4, PORTS4)),
    "tcp4 without its type": (v4(), T.IPv4 | T.UDPv4, (T.IPv4, PLAIN4)),
    "tcp4 with udp alone": (v4(), T.UDPv4, NONE),
    "tcp4 with types of v6": (v4(), T.IPv6 | T.TCPv6 | T.TCP_EX, NONE),
    "udp6": (v6(**UDP6), ALL_TYPES, (T.UDPv6, PORTS6)),
    "no type": (v4(), T.NONE, NONE),
    # IPv4 headers
    "options": (v4(options=bytes(40)), ALL_TYPES, (T.TCPv4, PORTS4)),
    "don't fragment is no fragment": (v4(flags=2), ALL_TYPES, (T.TCPv4, PORTS4)),
    "first fragment": (v4(flags=1), ALL_TYPES, (T.IPv4, PLAIN4)),
    "last fragment": (v4(flags=0, offset=100), ALL_TYPES, (T.IPv4, PLAIN4)),
    "fragment without IPv4": (v4(flags=1), T.TCPv4, NONE),
    "header of 16 bytes": (v4(header_words=4), ALL_TYPES, NONE),
    "ports behind the IP length": (v4(length=23), ALL_TYPES, (T.IPv4, PLAIN4)),
    "ports at the IP length": (v4(length=24), ALL_TYPES, (T.TCPv4, PORTS4)),
    "IP length 0": (v4(length=0), ALL_TYPES, (T.TCPv4, PORTS4)),
    "IP length 19": (v4(length=19), ALL_TYPES, NONE),
    "ports and no more": (v4()[: 14 + 24], ALL_TYPES, (T.TCPv4, PORTS4)),
    "three bytes of ports": (v4()[: 14 + 23], ALL_TYPES, (T.IPv4, PLAIN4)),
    "header cut": (v4()[: 14 + 19], ALL_TYPES, NONE),
    # layer 2
    "no IP": (f.ethernet(bytes(46), ethertype=0x0806), ALL_TYPES, NONE),
    "version against ethertype": (f.ethernet(TAGGED, ethertype=0x86DD), ALL_TYPES, NONE),
    "one tag": (f.ethernet(TAGGED, vlans=[(0x8100, 1)]), ALL_TYPES, (T.TCPv4, PORTS4)),
    "one provider tag": (f.ethernet(TAGGED, vlans=[(0x88A8, 1)]), ALL_TYPES, (T.TCPv4, PORTS4)),
    "two tags": (f.ethernet(TAGGED, vlans=[(0x88A8, 1), (0x8100, 2)]), ALL_TYPES, (T.TCPv4, PORTS4)),
    "three tags": (f.ethernet(TAGGED, vlans=[(0x8100, 1)] * 3), ALL_TYPES, NONE),
    "tag cut": (f.ethernet(b"\0\0\x08", ethertype=0x8100), ALL_TYPES, NONE),
    # IPv6 without extension headers
    "ex types without extension header": (v6(), T.IP_EX | T.TCP_EX | T.UDP_EX, NONE),
    "icmp6 is no extension header": (
        v6(protocol=58, payload=bytes((f.TCP, 0)) + bytes(30)), ALL_TYPES, (T.IPv6, PLAIN6),
    ),
    "no next header": (
        v6(protocol=f.NONE, payload=bytes((f.TCP, 0)) + bytes(30)), ALL_TYPES, (T.IPv6, PLAIN6),
    ),
    "payload length 3": (v6(length=3), ALL_TYPES, (T.IPv6, PLAIN6)),
    "payload length 0": (v6(length=0), ALL_TYPES, (T.TCPv6, PORTS6)),
    # IPv6 with extension headers
    "tcp_ex": (v6(HOME_OPTION, ROUTING2), ALL_TYPES, (T.TCP_EX, MOBILE_PORTS)),
    "tcp_ex alone": (v6(HOME_OPTION, ROUTING2), T.TCP_EX, (T.TCP_EX, MOBILE_PORTS)),
    "udp_ex": (v6(HOME_OPTION, ROUTING2, **UDP6), ALL_TYPES, (T.UDP_EX, MOBILE_PORTS)),
    "ip_ex before tcpv6": (v6(HOME_OPTION, ROUTING2), T.IP_EX | T.TCPv6, (T.IP_EX, MOBILE)),
    "ip_ex of another protocol": (v6(HOME_OPTION, protocol=58), ALL_TYPES, (T.IP_EX, packed(HOME, B6))),
    "plain when no ex type is enabled": (
        v6(HOME_OPTION, ROUTING2), T.IPv6 | T.TCPv6, (T.TCPv6, PORTS6),
    ),
    "plain when the other ex type is enabled": (
        v6(HOME_OPTION, ROUTING2), T.UDP_EX | T.TCPv6, (T.TCPv6, PORTS6),
    ),
    "extension header without addresses": (v6(HOP), ALL_TYPES, (T.TCP_EX, PORTS6)),
    "home address at the end of its header": (
        v6((f.DSTOPTS, f.extension(f.pad(4) + f.home_address(HOME)))), T.TCP_EX,
        (T.TCP_EX, packed(HOME, B6, ports=PORTS)),
    ),
    "home address behind sixteen options": (
        v6((f.DSTOPTS, f.options(*[f.pad(1)] * 16, f.home_address(HOME)))), T.TCP_EX, (T.TCP_EX, PORTS6),
    ),
    "home address behind fifteen options": (
        v6((f.DSTOPTS, f.options(*[f.pad(1)] * 15, f.home_address(HOME)))), T.TCP_EX,
        (T.TCP_EX, packed(HOME, B6, ports=PORTS)),
    ),
    "home address in a hop-by-hop header": (
        v6((f.HOPOPTS, HOME_OPTION[1])), T.TCP_EX, (T.TCP_EX, PORTS6),
    ),
    "home address longer than its header": (
        v6((f.DSTOPTS, f.options(f.pad(4), f.home_address(HOME), length=1))), T.IP_EX, (T.IP_EX, PLAIN6),
    ),
    "routing header of type 0": (
        v6((f.ROUTING, f.routing2(ROUTED, kind=0))), T.TCP_EX, (T.TCP_EX, PORTS6),
    ),
    "routing header that is used up": (
        v6((f.ROUTING, f.routing2(ROUTED, segments_left=0))), T.TCP_EX, (T.TCP_EX, PORTS6),
    ),
    "atomic fragment": (v6((f.FRAGMENT, f.fragment())), ALL_TYPES, (T.TCP_EX, PORTS6)),
    "first fragment of v6": (
        v6(ROUTING2, (f.FRAGMENT, f.fragment(more=True))), ALL_TYPES, (T.IP_EX, packed(A6, ROUTED)),
    ),
    "later fragment of v6": (v6((f.FRAGMENT, f.fragment(offset=1))), T.TCPv6 | T.IPv6, (T.IPv6, PLAIN6)),
    "behind a fragment header": (
        v6((f.FRAGMENT, f.fragment(more=True)), HOME_OPTION), ALL_TYPES, (T.IP_EX, PLAIN6),
    ),
    "authentication header": (v6((f.AH, f.authentication())), T.TCPv6, (T.TCPv6, PORTS6)),
    "esp ends the walk": (v6((f.ESP, f.extension(bytes(6)))), ALL_TYPES, (T.IP_EX, PLAIN6)),
    "eight headers": (v6(*[HOP] * 8), T.TCPv6 | T.IPv6, (T.TCPv6, PORTS6)),
    "nine headers": (v6(*[HOP] * 9), T.TCPv6 | T.IPv6, (T.IPv6, PLAIN6)),
    "header longer than the packet": (
        v6((f.HOPOPTS, f.extension(bytes(6), length=255))), T.TCPv6 | T.IPv6, (T.IPv6, PLAIN6),
    ),
    "extension header cut": (v6(HOME_OPTION)[: 14 + 40 + 7], ALL_TYPES, (T.IP_EX, PLAIN6)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fallback(case: str) -> None:
    frame, types, expected = CASES[case]
    assert hash_input(frame, types) == expected


@pytest.mark.parametrize("case", CASES)
def test_reference(case: str) -> None:
    frame, types, expected = CASES[case]
    assert reference.select(reference.dissect(frame), types) == expected
