# SPDX-License-Identifier: Apache-2.0
"""The specification once more, to judge the others by: slow, plain, and sharing no code with them.

Only the names of the types are shared. Headers are taken off the front of the packet one after the
other, the hash goes bit by bit. Rules: virtio 1.3, 5.1.6.4.3 ("Processing of Incoming Packets"), RFC 791
(IPv4), RFC 8200 (IPv6), RFC 6946 (atomic fragments), RFC 6275 (home address option, routing header type
2), RFC 4302 (AH), IANA "IPv6 Extension Header Types"; and for tunnels virtio's "Inner Header Hash", RFC
2003 (IPIP), RFC 2784, 2890, 7676, 7637 and 8086 (GRE), RFC 7348 (VXLAN), draft-ietf-nvo3-vxlan-gpe-12,
RFC 8926 (GENEVE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from holdfast.rss.terms import HashType, TunnelType

__all__ = ["Packet", "dissect", "select", "toeplitz"]

# One table for both families: what an L4 protocol number means to the specification.
L4_NAMES = {6: "TCP", 17: "UDP"}
# protocol number -> how the header's length in bytes follows from its second byte
EXTENSION_LENGTH: dict[int, Callable[[int], int | None]] = {
    0: lambda n: 8 + 8 * n,  # hop-by-hop options
    43: lambda n: 8 + 8 * n,  # routing
    44: lambda n: 8,  # fragment
    50: lambda n: None,  # ESP: all that follows is encrypted
    51: lambda n: 8 + 4 * n,  # AH: in 4-byte units
    60: lambda n: 8 + 8 * n,  # destination options
    135: lambda n: 8 + 8 * n,  # mobility
    139: lambda n: 8 + 8 * n,  # host identity protocol
    140: lambda n: 8 + 8 * n,  # shim6
}


def toeplitz(key: bytes, data: bytes) -> int:
    """Returns the Toeplitz hash (32 bits), one bit of ``data`` after the other.

    ``key`` is at least 4 bytes longer than ``data``.
    """
    whole, width, value = int.from_bytes(key, "big"), 8 * len(key), int.from_bytes(data, "big")
    result = 0
    for position in range(8 * len(data)):
        if value >> (8 * len(data) - 1 - position) & 1:
            result ^= whole >> (width - 32 - position) & 0xFFFFFFFF
    return result


@dataclass(slots=True)
class Packet:
    """What a frame holds, as far as hashing is concerned; ``version`` 0 means no IP packet."""

    version: int = 0
    source: bytes = b""
    destination: bytes = b""
    l4: str = ""  # TCP, UDP or nothing
    ports: bytes = b""
    extended: bool = False
    home_addresses: list[bytes] = field(default_factory=list)
    routed_addresses: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Layer:
    """A packet, and what it carries: ``protocol`` is None where that cannot be told, as in a fragment."""

    packet: Packet
    protocol: int | None = None
    payload: bytes = b""


def dissect(frame: bytes, tunnels: TunnelType = TunnelType.NONE) -> Packet:
    """Returns what the Ethernet frame ``frame`` holds; what is inside, if it is a tunnel of ``tunnels``."""
    outer = _ethernet(frame)
    inner = _unwrap(outer, tunnels) if outer else None
    layer = inner if inner is not None else outer
    if layer is None:
        return Packet()
    if layer.protocol in L4_NAMES and len(layer.payload) >= 4:
        layer.packet.l4, layer.packet.ports = L4_NAMES[layer.protocol], layer.payload[:4]
    return layer.packet


def _ethernet(frame: bytes) -> Layer | None:
    protocol, packet = frame[12:14], frame[14:]
    for _ in range(2):
        if protocol in (b"\x81\x00", b"\x88\xa8"):
            protocol, packet = packet[2:4], packet[4:]
    return _network(protocol, packet)


def _network(ethertype: bytes, packet: bytes) -> Layer | None:
    if ethertype == b"\x08\x00" and len(packet) >= 20 and packet[0] >> 4 == 4:
        return _dissect_v4(packet)
    if ethertype == b"\x86\xdd" and len(packet) >= 40 and packet[0] >> 4 == 6:
        return _dissect_v6(packet)
    return None


def _dissect_v4(packet: bytes) -> Layer | None:
    total_length = int.from_bytes(packet[2:4], "big")
    if total_length:
        packet = packet[:total_length]
    header_length = 4 * (packet[0] % 16) if packet else 0
    if len(packet) < 20 or header_length < 20:
        return None
    found = Packet(4, packet[12:16], packet[16:20])
    flags_and_offset = f"{int.from_bytes(packet[6:8], 'big'):016b}"
    more_fragments, offset = flags_and_offset[2], flags_and_offset[3:]
    if more_fragments == "1" or int(offset, 2) or len(packet) < header_length:
        return Layer(found)
    return Layer(found, packet[9], packet[header_length:])


def _dissect_v6(packet: bytes) -> Layer:
    found = Packet(6, packet[8:24], packet[24:40])
    payload_length = int.from_bytes(packet[4:6], "big")
    rest = packet[40:]
    if payload_length:
        rest = rest[:payload_length]
    protocol: int = packet[6]
    found.extended = protocol in EXTENSION_LENGTH
    for _ in range(8):
        if protocol not in EXTENSION_LENGTH:
            break
        if len(rest) < 8:
            return Layer(found)
        length = EXTENSION_LENGTH[protocol](rest[1])
        if length is None:
            return Layer(found)
        header, rest = rest[:length], rest[length:]
        if protocol == 44:
            offset, more = divmod(int.from_bytes(header[2:4], "big"), 8)
            if offset or more % 2:
                return Layer(found)
        if protocol == 43 and header[1:4] == bytes((2, 2, 1)) and len(header) == 24:
            found.routed_addresses.append(header[8:24])
        if protocol == 60:
            found.home_addresses += [
                value for kind, value in _options(header[2:]) if kind == 201 and len(value) == 16
            ]
        protocol = header[0]
    return Layer(found) if protocol in EXTENSION_LENGTH else Layer(found, protocol, rest)


def _unwrap(outer: Layer, enabled: TunnelType) -> Layer | None:
    # None: no tunnel that is enabled, the outer headers count. A packet without a version: a tunnel with
    # nothing in it that can be hashed.
    matches, ethertype, inside = _tunnel(outer)
    if not matches & enabled:
        return None
    inner = _ethernet(inside) if ethertype == b"\x65\x58" else _network(ethertype, inside)
    return inner or Layer(Packet())


def _tunnel(outer: Layer) -> tuple[TunnelType, bytes, bytes]:
    # Returns the types that the packet is of, the EtherType of what is inside, and that itself.
    none = TunnelType.NONE, b"", b""
    version, payload = outer.packet.version, outer.payload
    if outer.protocol == 4 and version == 4:
        return TunnelType.IPIP, b"\x08\x00", payload
    if outer.protocol == 47:
        fields = _gre_fields(payload)
        if fields is None:
            return none
        present, ethertype, inside = fields
        matches = TunnelType.NONE
        if version == 4 and present <= {"checksum"}:
            matches |= TunnelType.GRE_2784
        elif version == 4:
            matches |= TunnelType.GRE_2890
        if version == 6 or ethertype == b"\x86\xdd":
            matches |= TunnelType.GRE_7676
        if present == {"key"} and ethertype == b"\x65\x58":
            matches |= TunnelType.NVGRE
        return matches, ethertype, inside
    if outer.protocol != 17 or len(payload) < 8:
        return none
    port, data = int.from_bytes(payload[2:4], "big"), payload[8:]
    if port == 4754 and (fields := _gre_fields(data)):
        return TunnelType.GRE_UDP, *fields[1:]
    if len(data) < 8:
        return none
    bits = f"{data[0]:08b}"
    if port == 4789 and bits[4] == "1":
        return TunnelType.VXLAN, b"\x65\x58", data[8:]
    if port == 4790 and bits[2:4] == "00" and bits[7] == "0":
        named = {1: b"\x08\x00", 2: b"\x86\xdd", 3: b"\x65\x58"}.get(data[3], b"")
        return TunnelType.VXLAN_GPE, named if bits[5] == "1" else b"\x65\x58", data[8:]
    if port == 6081 and bits[:2] == "00" and data[1] < 128:
        size = 8 + 4 * int(bits[2:], 2)
        if len(data) >= size:
            return TunnelType.GENEVE, data[2:4], data[size:]
    return none


def _gre_fields(data: bytes) -> tuple[set[str], bytes, bytes] | None:
    # Which optional fields a GRE header has, the EtherType and what is behind; None if it is none.
    bits = "".join(f"{byte:08b}" for byte in data[:2])
    if len(data) < 4 or bits[1] == "1" or "1" in bits[4:6] or bits[13:] != "000":
        return None
    present = {name for bit, name in ((0, "checksum"), (2, "key"), (3, "sequence")) if bits[bit] == "1"}
    size = 4 + 4 * len(present)
    return (present, data[2:4], data[size:]) if len(data) >= size else None


def _options(area: bytes) -> Iterator[tuple[int, bytes]]:
    # Yields the first 16 options that lie wholly in the area.
    for _ in range(16):
        if area[:1] == b"\0":
            kind, value, area = 0, b"", area[1:]
        elif len(area) >= 2 and len(area) >= 2 + area[1]:
            kind, value, area = area[0], area[2 : 2 + area[1]], area[2 + area[1] :]
        else:
            return
        yield kind, value


def select(packet: Packet, enabled: HashType) -> tuple[HashType, bytes]:
    """Returns the type that the specification chooses among ``enabled``, and the input of the hash."""
    plain = packet.source + packet.destination
    if packet.version == 4:
        order = [(HashType.TCPv4, "TCP", plain), (HashType.UDPv4, "UDP", plain), (HashType.IPv4, "", plain)]
    elif packet.version == 6:
        order = [(HashType.TCPv6, "TCP", plain), (HashType.UDPv6, "UDP", plain), (HashType.IPv6, "", plain)]
        if packet.extended:
            home = [packet.source, *packet.home_addresses][-1]
            routed = [packet.destination, *packet.routed_addresses][-1]
            mobile = home + routed
            order = [
                (HashType.TCP_EX, "TCP", mobile),
                (HashType.UDP_EX, "UDP", mobile),
                (HashType.IP_EX, "", mobile),
                *order,
            ]
    else:
        order = []
    for kind, l4, addresses in order:
        if enabled & kind and l4 in ("", packet.l4):
            return kind, addresses + (packet.ports if l4 else b"")
    return HashType.NONE, b""
