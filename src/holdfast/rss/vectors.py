# SPDX-License-Identifier: Apache-2.0
"""The published verification vectors of RSS.

Source: Microsoft, "Verifying the RSS Hash Calculation"; the same numbers are in Intel's 82599
datasheet, section 7.1.2.8.3. There the destination is listed first; the input is always source,
destination, source port, destination port. The ports make the same hash for TCP and for UDP.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from holdfast.rss import frames
from holdfast.rss.terms import HashType

__all__ = ["KEY", "VECTORS", "Vector"]

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
"""The key that all vectors use, 40 bytes."""


@dataclass(frozen=True, slots=True)
class Vector:
    """One flow and its two hashes: of the addresses, and of addresses and ports."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    addresses_hash: int
    ports_hash: int

    @property
    def version(self) -> int:
        """Returns the IP version, 4 or 6."""
        return ip_address(self.source).version

    def addresses(self) -> bytes:
        """Returns the input of the hash of the addresses."""
        return ip_address(self.source).packed + ip_address(self.destination).packed

    def with_ports(self) -> bytes:
        """Returns the input of the hash of addresses and ports."""
        return self.addresses() + struct.pack("!HH", self.source_port, self.destination_port)

    def frames(self) -> list[tuple[bytes, HashType, int]]:
        """Returns a TCP, a UDP and an ICMP frame, each with its type and hash when all are enabled."""
        make = frames.ipv4 if self.version == 4 else frames.ipv6
        tcp, udp, plain = (
            (HashType.TCPv4, HashType.UDPv4, HashType.IPv4)
            if self.version == 4
            else (HashType.TCPv6, HashType.UDPv6, HashType.IPv6)
        )
        ports = (self.source_port, self.destination_port)
        icmp = 1 if self.version == 4 else 58
        parts = [
            (frames.TCP, frames.tcp(*ports), tcp, self.ports_hash),
            (frames.UDP, frames.udp(*ports), udp, self.ports_hash),
            (icmp, bytes((8 if icmp == 1 else 128, 0, 0, 0, 0, 1, 0, 1)), plain, self.addresses_hash),
        ]
        return [
            (frames.ethernet(make(self.source, self.destination, protocol, payload)), kind, value)
            for protocol, payload, kind, value in parts
        ]


VECTORS = (
    Vector("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178),
    Vector("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA),
    Vector("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A),
    Vector("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F),
    Vector("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2),
    Vector("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D),
    Vector("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF),
    Vector(
        "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4B61E985, 0x2D1FEEF
    ),
)
