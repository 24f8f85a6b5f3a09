# SPDX-License-Identifier: Apache-2.0
"""Flows inside tunnels, made up from a seed: those of :mod:`holdfast.rss.traffic`, encapsulated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from holdfast.rss import frames
from holdfast.rss.traffic import random_frames

__all__ = ["random_tunnels"]

_ETHERNET = 0x6558  # transparent Ethernet bridging
_IP = {4: 0x0800, 6: 0x86DD}
_IN_IPV4, _GRE = 4, 47  # protocol numbers
_GRE_UDP, _VXLAN, _VXLAN_GPE, _GENEVE = 4754, 4789, 4790, 6081  # UDP ports


def random_tunnels(count: int, seed: int) -> Iterator[bytes]:
    """Yields ``count`` Ethernet frames, at most 1514 bytes: every encapsulation of the virtio specification,
    over IPv4 and IPv6, with and without optional fields; some with a port that is no tunnel's.
    """
    chance = random.Random(seed)
    for inner in random_frames(count, seed):
        # what is behind the tags, and whether it is IP
        at = 12
        while inner[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
        packet = inner[at + 2 :]
        version = packet[0] >> 4 if int.from_bytes(inner[at : at + 2], "big") in _IP.values() else 0
        protocol, payload = _encapsulated(chance, inner, packet, version)
        yield frames.ethernet(_outer(chance, protocol, payload))


def _encapsulated(chance: random.Random, inner: bytes, packet: bytes, version: int) -> tuple[int, bytes]:
    """(protocol number, payload) of the outer packet; ``version`` 0 is a frame that is no IP."""
    bare = version and chance.random() < 0.5
    ethertype, content = (_IP[version], packet) if bare else (_ETHERNET, inner)
    kind = chance.randrange(8)
    if kind == 0 and version == 4:
        return _IN_IPV4, packet
    if kind <= 2:
        return _GRE, _gre(chance, ethertype, content)
    if kind == 3:
        return _udp(chance, _GRE_UDP, _gre(chance, ethertype, content))
    if kind == 4:
        options = bytes(4 * chance.choice((0, 0, 1, 4)))
        return _udp(chance, _GENEVE, frames.geneve(ethertype, content, options=options))
    if kind == 5:
        named = {4: 1, 6: 2}[version] if bare else 3
        return _udp(chance, _VXLAN_GPE, frames.vxlan_gpe(content, protocol=named))
    port = _VXLAN if chance.random() < 0.9 else 4788
    return _udp(chance, port, frames.vxlan(inner, vni=chance.getrandbits(24)))


def _gre(chance: random.Random, ethertype: int, content: bytes) -> bytes:
    return frames.gre(
        ethertype,
        content,
        checksum=chance.random() < 0.2,
        key=chance.getrandbits(32) if chance.random() < 0.5 else None,
        sequence=chance.getrandbits(32) if chance.random() < 0.2 else None,
    )


def _udp(chance: random.Random, port: int, payload: bytes) -> tuple[int, bytes]:
    return frames.UDP, frames.udp(chance.randrange(49152, 65536), port, payload)


def _outer(chance: random.Random, protocol: int, payload: bytes) -> bytes:
    # IP in IP is over IPv4 alone: protocol 4 over IPv6 is another tunnel
    if protocol == _IN_IPV4 or chance.random() < 0.5:
        # some addresses only, as between two hosts: what spreads is inside
        source, destination = (str(IPv4Address(0x0A000000 + chance.randrange(4))) for _ in range(2))
        return frames.ipv4(source, destination, protocol, payload)
    source, destination = (str(IPv6Address((0xFD << 120) + chance.randrange(4))) for _ in range(2))
    return frames.ipv6(source, destination, protocol, payload)
