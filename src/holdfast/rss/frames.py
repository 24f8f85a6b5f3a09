# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames from their parts, honest or not: lengths and checksums can be set to anything.

Every function returns bytes that begin with the header it is named after, ``payload`` behind it.
Addresses are written as text. Checksums are 0: nothing that steers looks at them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "AH", "DSTOPTS", "ESP", "ETHERNET", "FRAGMENT", "GENEVE", "GRE", "GRE_UDP", "HOPOPTS", "IPIP",
    "MOBILITY", "NONE", "ROUTING", "TCP", "UDP", "VXLAN", "VXLAN_GPE", "authentication", "ethernet",
    "extension", "fragment", "geneve", "gre", "home_address", "ipv4", "ipv6", "options", "pad", "routing2",
    "tcp", "udp", "vxlan", "vxlan_gpe",
]  # fmt: skip

# Protocol numbers of IPv4 and next headers of IPv6
HOPOPTS, TCP, UDP, ROUTING, FRAGMENT, ESP, AH, NONE, DSTOPTS, MOBILITY = 0, 6, 17, 43, 44, 50, 51, 59, 60, 135
IPIP, GRE = 4, 47
# UDP ports of tunnels
GRE_UDP, VXLAN, VXLAN_GPE, GENEVE = 4754, 4789, 4790, 6081
# EtherType of an Ethernet frame in a tunnel
ETHERNET = 0x6558

_ETHERTYPE = {4: 0x0800, 6: 0x86DD}


def ethernet(payload: bytes, *, ethertype: int | None = None, vlans: Sequence[tuple[int, int]] = ()) -> bytes:
    """``vlans`` are (ethertype of the tag, tag control information), the outermost first.

    Without ``ethertype`` it is that of the payload's IP version.
    """
    if ethertype is None:
        ethertype = _ETHERTYPE.get(payload[0] >> 4, 0x88B5) if payload else 0x88B5  # 0x88B5: for experiments
    tags = b"".join(struct.pack("!HH", kind, tci) for kind, tci in vlans)
    return bytes.fromhex("02000000000102000000000f") + tags + struct.pack("!H", ethertype) + payload


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    options: bytes = b"",
    flags: int = 0b010,
    offset: int = 0,
    length: int | None = None,
    header_words: int | None = None,
) -> bytes:
    """``flags``: 2 is don't fragment, 1 more fragments; ``offset`` counts units of 8 bytes."""
    words = 5 + len(options) // 4 if header_words is None else header_words
    total = 20 + len(options) + len(payload) if length is None else length
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | words, 0, total, 1, flags << 13 | offset, 64, protocol, 0,
        IPv4Address(source).packed, IPv4Address(destination).packed,
    )  # fmt: skip
    return header + options + payload


def ipv6(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    extensions: Sequence[tuple[int, bytes]] = (),
    length: int | None = None,
) -> bytes:
    """``extensions`` are (header's own number, its bytes); their first byte is overwritten to chain them."""
    kinds = [kind for kind, _ in extensions] + [protocol]
    chain = b"".join(bytes((kinds[i + 1],)) + body[1:] for i, (_, body) in enumerate(extensions))
    total = len(chain) + len(payload) if length is None else length
    header = struct.pack(
        "!IHBB16s16s",
        6 << 28,
        total,
        kinds[0],
        64,
        IPv6Address(source).packed,
        IPv6Address(destination).packed,
    )
    return header + chain + payload


def extension(content: bytes, *, length: int | None = None) -> bytes:
    """A header whose second byte counts units of 8 bytes; ``content`` begins at its third, and is padded."""
    body = content + bytes(-(len(content) + 2) % 8)
    return struct.pack("!BB", 0, (len(body) + 2) // 8 - 1 if length is None else length) + body


def options(*each: bytes, length: int | None = None) -> bytes:
    """A hop-by-hop or destination options header; the room that is left is filled with one PadN or Pad1."""
    body = b"".join(each)
    return extension(body + pad(-(len(body) + 2) % 8), length=length)


def pad(size: int) -> bytes:
    """Padding of ``size`` bytes, 0 to 257: nothing, Pad1 or PadN."""
    return bytes(size) if size < 2 else struct.pack("!BB", 1, size - 2) + bytes(size - 2)


def home_address(address: str) -> bytes:
    """The home address option, 18 bytes."""
    return struct.pack("!BB", 201, 16) + IPv6Address(address).packed


def routing2(address: str, *, segments_left: int = 1, kind: int = 2) -> bytes:
    """A routing header, of type 2 unless ``kind`` says otherwise, with one address."""
    return struct.pack("!BBBBI", 0, 2, kind, segments_left, 0) + IPv6Address(address).packed


def fragment(*, offset: int = 0, more: bool = False, number: int = 1) -> bytes:
    """A fragment header, atomic without ``offset`` (in units of 8 bytes) and ``more``."""
    return struct.pack("!BBHI", 0, 0, offset << 3 | more, number)


def authentication(value: bytes = bytes(12)) -> bytes:
    """An authentication header; ``value`` is a multiple of 4 bytes long."""
    return struct.pack("!BBHII", 0, (12 + len(value)) // 4 - 2, 0, 1, 1) + value


def tcp(source: int, destination: int, payload: bytes = b"") -> bytes:
    """A TCP header of 20 bytes with ACK set."""
    return struct.pack("!HHIIBBHHH", source, destination, 1, 1, 5 << 4, 0x10, 1024, 0, 0) + payload


def udp(source: int, destination: int, payload: bytes = b"") -> bytes:
    """A UDP header without checksum."""
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def gre(
    protocol: int,
    payload: bytes,
    *,
    checksum: bool = False,
    key: int | None = None,
    sequence: int | None = None,
    flags: int = 0,
) -> bytes:
    """A GRE header (RFC 2784, 2890) with an EtherType; ``flags`` are more bits for its first two bytes."""
    fields = [0] * checksum + [number for number in (key, sequence) if number is not None]
    first = flags | checksum << 15 | (key is not None) << 13 | (sequence is not None) << 12
    return struct.pack(f"!HH{len(fields)}I", first, protocol, *fields) + payload


def vxlan(payload: bytes, *, flags: int = 0x08, vni: int = 1) -> bytes:
    """A VXLAN header (RFC 7348): what goes behind a UDP header to port :data:`VXLAN`."""
    return struct.pack("!B3xI", flags, vni << 8) + payload


def vxlan_gpe(payload: bytes, *, protocol: int = 3, flags: int = 0x0C, vni: int = 1) -> bytes:
    """A VXLAN-GPE header: ``protocol`` 1 is IPv4, 2 IPv6, 3 Ethernet; flag 0x04 says that it counts."""
    return struct.pack("!B2xBI", flags, protocol, vni << 8) + payload


def geneve(
    protocol: int,
    payload: bytes,
    *,
    options: bytes = b"",
    first: int | None = None,
    flags: int = 0,
    vni: int = 1,
) -> bytes:
    """A GENEVE header (RFC 8926) with an EtherType; ``first`` is its first byte, if not the honest one."""
    byte = len(options) // 4 if first is None else first
    return struct.pack("!BBHI", byte, flags, protocol, vni << 8) + options + payload
