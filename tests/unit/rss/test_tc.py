# SPDX-License-Identifier: Apache-2.0
"""Rules of tc and what they match, in and out; the attributes of netlink."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.load.netlink import attribute, attributes
from holdfast.rss.tc import Match, TcRule
from holdfast.rss.terms import HashType
from holdfast.rss.toeplitz import pack_rows
from holdfast.rss.vectors import KEY


def test_layout_of_version_1() -> None:
    # struct rss_tc_rule of bundles/net/rss-tc/rss_tc.h is a contract.
    value = TcRule(9, KEY + b"more", (5, 6, 7), types=HashType.TCPv4, unclassified=2).pack(256)
    assert len(value) == 5704
    assert value[:32] == struct.pack("=8I", 2, 0, 3, 2, 256, 0, 0, 0)
    assert value[32:72] == KEY
    assert value[72:4680] == pack_rows(KEY)
    assert value[4680:] == struct.pack("=512H", 5, 6, 7, *(0,) * 509)


@pytest.mark.parametrize("unclassified", [None, 0, 65534])
@pytest.mark.parametrize("queues", [(1,), (3, 0, 2), tuple(range(512))])
def test_a_rule_comes_back_from_its_value(queues: tuple[int, ...], unclassified: int | None) -> None:
    rule = TcRule(4096, KEY, queues, HashType.UDPv6, unclassified)
    assert TcRule.unpack(4096, rule.pack(256), None) == rule


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"number": 0}, "tc rule 0"),
        ({"number": 4097}, "tc rule 4097"),
        ({"queues": ()}, "0 queues"),
        ({"queues": (0,) * 513}, "513 queues"),
        ({"queues": (65535,)}, "queue 65535"),
        ({"unclassified": -1}, "queue -1"),
        ({"key": bytes(39)}, "39 bytes"),
        ({"types": HashType(1 << 9)}, "not known"),
    ],
)
def test_a_rule_that_cannot_be(members: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        TcRule(**{"number": 1, "key": KEY, "queues": (0,), **members})


MATCHES = [
    Match(ip=4),
    Match(ip=6, protocol="udp", source_port=0, destination_port=65535),
    Match(source="10.0.0.0/8", destination="192.0.2.1", protocol="tcp", destination_port=443),
    Match(source="2001:db8::/32", destination="::/0", protocol="tcp"),
    Match(source_mac="02:00:00:00:00:01"),
    Match(ip=4, destination_mac="ff:ff:ff:ff:ff:ff"),
]


@pytest.mark.parametrize("match", MATCHES)
def test_a_match_comes_back_from_its_attributes(match: Match) -> None:
    assert Match.unpack(attributes(match.pack())) == match
    assert Match(**match.to_dict()) == match  # type: ignore[arg-type]


def test_an_address_tells_its_version() -> None:
    assert Match(source="10.0.0.1").ip == 4
    assert Match(source="10.0.0.1").source == "10.0.0.1/32"
    assert Match(destination="2001:db8::1").ethertype == 0x86DD
    assert Match(source_mac="02:00:00:00:00:01").ethertype == 3


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({}, "nothing in particular"),
        ({"ip": 5}, "version 5"),
        ({"ip": 6, "source": "10.0.0.1"}, "IPv6 and the address"),
        ({"source": "10.0.0.1", "destination": "::1"}, "IPv4 and the address"),
        ({"source": "10.0.0.1/8"}, "host bits"),
        ({"protocol": "tcp"}, "no IP version"),
        ({"ip": 4, "protocol": "sctp"}, "sctp"),
        ({"ip": 4, "source_port": 1}, "no protocol"),
        ({"ip": 4, "protocol": "udp", "source_port": 65536}, "65536"),
        ({"source_mac": "02:00"}, "MAC address"),
    ],
)
def test_a_match_that_cannot_be(members: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Match(**members)


def test_attributes_are_padded_and_read_back() -> None:
    told = attribute(1, b"a") + attribute(0x8002, b"four") + attribute(3, b"")
    assert len(told) == 8 + 8 + 4
    assert attributes(told) == {1: b"a", 2: b"four", 3: b""}


@given(st.binary(max_size=64))
def test_attributes_of_any_bytes_end(content: bytes) -> None:
    assert sum(len(one) for one in attributes(content).values()) <= len(content)
