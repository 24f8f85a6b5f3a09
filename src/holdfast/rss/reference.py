# SPDX-License-Identifier: Apache-2.0
"""The specification once more, to judge the others by: slow, plain, and sharing no code with them.

Only the names of the hash types are shared. Headers are taken off the front of the packet one
after the other, the hash goes bit by bit. Rules: virtio 1.3, 5.1.6.4.3 ("Processing of Incoming
Packets"), RFC 791 (IPv4), RFC 8200 (IPv6), RFC 6946 (atomic fragments), RFC 6275 (home address
option, routing header type 2), RFC 4302 (AH), IANA "IPv6 Extension Header Types".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from holdfast.rss.terms import HashType

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


def dissect(frame: bytes) -> Packet:
    """Returns what the Ethernet frame ``frame`` holds."""
    protocol, packet = frame[12:14], frame[14:]
    for _ in range(2):
        if protocol in (b"\x81\x00", b"\x88\xa8"):
            protocol, packet = packet[2:4], packet[4:]
    if protocol == b"\x08\x00" and len(packet) >= 20 and packet[0] >> 4 == 4:
        return _dissect_v4(packet)
    if protocol == b"\x86\xdd" and len(packet) >= 40 and packet[0] >> 4 == 6:
        return _dissect_v6(packet)
    return Packet()


def _dissect_v4(packet: bytes) -> Packet:
    total_length = int.from_bytes(packet[2:4], "big")
    if total_length:
        packet = packet[:total_length]
    header_length = 4 * (packet[0] % 16)
    if len(packet) < 20 or header_length < 20:
        return Packet()
    found = Packet(4, packet[12:16], packet[16:20])
    flags_and_offset = f"{int.from_bytes(packet[6:8], 'big'):016b}"
    more_fragments, offset = flags_and_offset[2], flags_and_offset[3:]
    if more_fragments == "0" and int(offset, 2) == 0:
        _add_l4(found, packet[9], packet[header_length:])
    return found


def _dissect_v6(packet: bytes) -> Packet:
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
            return found
        length = EXTENSION_LENGTH[protocol](rest[1])
        if length is None:
            return found
        header, rest = rest[:length], rest[length:]
        if protocol == 44:
            offset, more = divmod(int.from_bytes(header[2:4], "big"), 8)
            if offset or more % 2:
                return found
        if protocol == 43 and header[1:4] == bytes((2, 2, 1)) and len(header) == 24:
            found.routed_addresses.append(header[8:24])
        if protocol == 60:
            found.home_addresses += [
                value for kind, value in _options(header[2:]) if kind == 201 and len(value) == 16
            ]
        protocol = header[0]
    if protocol not in EXTENSION_LENGTH:
        _add_l4(found, protocol, rest)
    return found


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


def _add_l4(found: Packet, protocol: int, segment: bytes) -> None:
    if protocol in L4_NAMES and len(segment) >= 4:
        found.l4, found.ports = L4_NAMES[protocol], segment[:4]


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
