# SPDX-License-Identifier: Apache-2.0
"""Flows such as a host sends to its guests, made up from a seed: the same seed, the same frames."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from holdfast.rss import frames

__all__ = ["random_frames"]

_TAGS = ([(0x8100, 100)], [(0x88A8, 200), (0x8100, 100)])


def random_frames(count: int, seed: int) -> Iterator[bytes]:
    """Yields ``count`` Ethernet frames, each of a flow of its own.

    IPv4 and IPv6, TCP and UDP, half and half; among them some with IP options, extension headers, home and
    routed addresses, fragments, VLAN tags, other protocols, and some that are no IP at all.
    """
    chance = random.Random(seed)
    for number in range(count):
        if chance.random() < 0.01:
            yield frames.ethernet(number.to_bytes(46, "big"), ethertype=0x0806)
            continue
        make = _ipv4 if chance.random() < 0.5 else _ipv6
        tags = chance.choice(_TAGS) if chance.random() < 0.1 else ()
        yield frames.ethernet(make(chance, number), vlans=tags)


def _segment(chance: random.Random, number: int, icmp: int) -> tuple[int, bytes]:
    kind, payload = chance.random(), number.to_bytes(4, "big")
    ports = chance.randrange(1024, 65536), chance.choice((53, 80, 443, 4789, 51820, chance.randrange(65536)))
    if kind < 0.55:
        return frames.TCP, frames.tcp(*ports, payload)
    if kind < 0.95:
        return frames.UDP, frames.udp(*ports, payload)
    return icmp, bytes((128, 0, 0, 0)) + payload


def _ipv4(chance: random.Random, number: int) -> bytes:
    protocol, payload = _segment(chance, number, 1)
    fragment, options = chance.random(), chance.random()
    return frames.ipv4(
        str(IPv4Address(chance.getrandbits(32))),
        str(IPv4Address(chance.getrandbits(32))),
        protocol,
        payload,
        options=bytes(4 * chance.randint(1, 10)) if options < 0.05 else b"",
        flags=1 if fragment < 0.03 else 2,
        offset=185 if fragment < 0.015 else 0,
    )


def _ipv6(chance: random.Random, number: int) -> bytes:
    protocol, payload = _segment(chance, number, 58)
    extensions = []
    if chance.random() < 0.2:
        extensions = [
            (frames.HOPOPTS, frames.options()),
            (frames.DSTOPTS, frames.options(frames.pad(4), frames.home_address(_address6(chance)))),
            (frames.ROUTING, frames.routing2(_address6(chance))),
            (frames.FRAGMENT, frames.fragment(more=chance.random() < 0.5, number=number)),
            (frames.AH, frames.authentication()),
        ]
        # In this order, which is the one of RFC 8200; some of them, or none.
        extensions = [header for header in extensions if chance.random() < 0.4]
    return frames.ipv6(_address6(chance), _address6(chance), protocol, payload, extensions=extensions)


def _address6(chance: random.Random) -> str:
    return str(IPv6Address(0x20010DB8 << 96 | chance.getrandbits(96)))
