# SPDX-License-Identifier: Apache-2.0
"""A second opinion: what Scapy finds in honest frames, against the reference that judges everything else."""

from __future__ import annotations

import struct
from collections import Counter
from ipaddress import ip_address
from itertools import chain
from typing import Any

import pytest

from holdfast.rss import reference
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashType, TunnelType
from holdfast.rss.traffic import random_frames
from holdfast.rss.tunnel_traffic import random_tunnels

pytestmark = pytest.mark.oracle

FLOWS = 500
EXTENSIONS = ("Hop-by-Hop", "Destination", "Routing", "Fragment", "AH")  # words of Scapy's names for them


@pytest.fixture(scope="module")
def dissect() -> Any:
    from scapy.contrib.geneve import GENEVE  # noqa: F401 - being imported, it is bound to its port
    from scapy.layers import inet, inet6, ipsec, vxlan  # noqa: F401
    from scapy.layers.inet import TCP, UDP
    from scapy.layers.l2 import GRE, Ether
    from scapy.packet import bind_layers

    # What Scapy does not know by itself: GRE in UDP (RFC 8086), and what an AH is followed by.
    bind_layers(UDP, GRE, dport=4754)
    for protocol, layer in ((4, inet.IP), (6, TCP), (17, UDP), (41, inet6.IPv6), (47, GRE)):
        bind_layers(ipsec.AH, layer, nh=protocol)
    return Ether


def ports(layer: Any) -> bytes:
    return struct.pack("!HH", layer.sport, layer.dport)


def network_layers(packet: Any) -> list[Any]:
    """The IP layers from the outside in; beyond the second one nothing is of interest."""
    found = []
    layer = packet
    while layer:
        if layer.name in ("IP", "IPv6"):
            found.append(layer)
        layer = layer.payload
    return found


def behind(layer: Any) -> list[Any]:
    """The layers that an IP layer carries, up to the next one."""
    found = []
    layer = layer.payload
    while layer and layer.name not in ("IP", "IPv6"):
        found.append(layer)
        layer = layer.payload
    return found


def is_fragment(layer: Any) -> bool:
    if layer.name == "IP":
        return bool(layer.flags.MF or layer.frag)
    return any("Fragment" in one.name and bool(one.m or one.offset) for one in behind(layer))


def chosen(layer: Any) -> tuple[HashType, bytes]:
    """What the specification takes of this layer, all types enabled."""
    carried = behind(layer)
    source, destination = ip_address(layer.src).packed, ip_address(layer.dst).packed
    l4 = next((one for one in carried if one.name in ("TCP", "UDP")), None)
    if is_fragment(layer):
        l4 = None
    if layer.name == "IP":
        kind = HashType.IPv4 if l4 is None else HashType[f"{l4.name}v4"]
        return kind, source + destination + (ports(l4) if l4 else b"")
    extended = False
    for one in carried:
        extended = extended or any(word in one.name for word in EXTENSIONS)
        if "Destination" in one.name:
            homes = [option.hoa for option in one.options if option.name == "Home Address Option"]
            source = ip_address(homes[-1]).packed if homes else source
        if "Routing" in one.name and one.type == 2 and one.segleft == 1:
            destination = ip_address(one.addresses[0]).packed
    if extended:
        kind = HashType.IP_EX if l4 is None else HashType[f"{l4.name}_EX"]
    else:
        kind = HashType.IPv6 if l4 is None else HashType[f"{l4.name}v6"]
    return kind, source + destination + (ports(l4) if l4 else b"")


def opinion(packet: Any, *, tunnels: bool) -> tuple[HashType, bytes]:
    layers = network_layers(packet)
    if not layers:
        return HashType.NONE, b""
    if tunnels and not is_fragment(layers[0]):
        between = [one.name for one in behind(layers[0])]
        if any(name in ("GRE", "VXLAN", "GENEVE") for name in between) or (
            len(layers) > 1 and (layers[0].name, layers[1].name) == ("IP", "IP")
        ):
            return chosen(layers[1]) if len(layers) > 1 else (HashType.NONE, b"")
    return chosen(layers[0])


@pytest.mark.parametrize("tunnels", [False, True])
def test_scapy_agrees(dissect: Any, tunnels: bool) -> None:
    seen: Counter[HashType] = Counter()
    for frame in chain(random_frames(FLOWS, 11), random_tunnels(FLOWS, 12)):
        packet = dissect(frame)
        got = reference.select(
            reference.dissect(frame, ALL_TUNNELS if tunnels else TunnelType.NONE), ALL_TYPES
        )
        assert got == opinion(packet, tunnels=tunnels), f"{frame.hex()}\n{packet.show(dump=True)}"
        seen[got[0]] += 1
    assert all(seen[kind] > 5 for kind in HashType.__members__.values()), seen
