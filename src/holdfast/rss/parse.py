# SPDX-License-Identifier: Apache-2.0
"""From a frame to what is hashed of it: the rules of bundles/net/rss/classify.h and tunnel.h, in Python.

The comments at the head of those files say how what the specification leaves open is settled; both sides
follow them, and :mod:`holdfast.rss.reference` checks both.
"""

from __future__ import annotations

from struct import unpack_from

from holdfast.rss.terms import HashType, TunnelType

__all__ = ["hash_input"]

MAX_EXTENSIONS = 8
MAX_OPTIONS = 16
MAX_TAGS = 2

_VLAN = frozenset((0x8100, 0x88A8))
_EXTENSIONS = frozenset((0, 43, 44, 50, 51, 60, 135, 139, 140))
_ROUTING, _FRAGMENT, _ESP, _AH, _NONE, _DSTOPTS = 43, 44, 50, 51, 59, 60
_IPIP, _UDP, _GRE = 4, 17, 47
_IPV4, _IPV6, _ETHERNET, _NOTHING = 0x0800, 0x86DD, 0x6558, 0
_HOME_ADDRESS = 0xC9
_ANY_EX = HashType.IP_EX | HashType.TCP_EX | HashType.UDP_EX

_V4_TYPES = {6: HashType.TCPv4, 17: HashType.UDPv4}
_V6_TYPES = {6: HashType.TCPv6, 17: HashType.UDPv6}
_EX_TYPES = {6: HashType.TCP_EX, 17: HashType.UDP_EX}


_UDP_TUNNELS = {
    4754: TunnelType.GRE_UDP,
    4789: TunnelType.VXLAN,
    4790: TunnelType.VXLAN_GPE,
    6081: TunnelType.GENEVE,
}
_GPE_PROTOCOLS = {1: _IPV4, 2: _IPV6, 3: _ETHERNET}


def hash_input(
    frame: bytes, types: HashType, tunnel_types: TunnelType = TunnelType.NONE
) -> tuple[HashType, bytes]:
    """Returns the hash type of an Ethernet frame among ``types`` and the bytes to hash, in network order.

    The headers are those inside where the frame's outer ones are of ``tunnel_types``.
    ``(HashType.NONE, b"")`` when the frame is not hashed. Any bytes are a frame; nothing is raised.
    """
    protocol, start, limit = *_skip_mac(frame, 0, len(frame)), len(frame)
    if tunnel_types and (inside := _enter_tunnel(frame, protocol, start, tunnel_types)):
        protocol, start, limit = inside
        if protocol == _ETHERNET:
            protocol, start = _skip_mac(frame, start, limit)
    if protocol == _IPV4:
        return _ipv4(frame, start, limit, types)
    if protocol == _IPV6:
        return _ipv6(frame, start, limit, types)
    return HashType.NONE, b""


def _skip_mac(frame: bytes, start: int, limit: int) -> tuple[int, int]:
    # Returns the EtherType behind MAC header and VLAN tags, and where its header begins.
    if limit < start + 14:
        return _NOTHING, start
    (protocol,) = unpack_from("!H", frame, start + 12)
    start += 14
    for _ in range(MAX_TAGS):
        if protocol not in _VLAN:
            break
        if limit < start + 4:
            return _NOTHING, start
        (protocol,) = unpack_from("!H", frame, start + 2)
        start += 4
    return protocol, start


def _ipv4(frame: bytes, start: int, limit: int, types: HashType) -> tuple[HashType, bytes]:
    if limit < start + 20:
        return HashType.NONE, b""
    version_ihl, total, fragment, protocol = unpack_from("!BxHxxHxB", frame, start)
    header = (version_ihl & 15) * 4
    if version_ihl >> 4 != 4 or header < 20 or 0 < total < 20:
        return HashType.NONE, b""
    end = min(limit, start + total) if total else limit
    addresses = frame[start + 12 : start + 20]
    wanted = _V4_TYPES.get(protocol, HashType.NONE) & types
    ports = start + header
    if wanted and not fragment & 0x3FFF and ports + 4 <= end:
        return wanted, addresses + frame[ports : ports + 4]
    if types & HashType.IPv4:
        return HashType.IPv4, addresses
    return HashType.NONE, b""


def _ipv6(frame: bytes, start: int, limit: int, types: HashType) -> tuple[HashType, bytes]:
    if limit < start + 40 or frame[start] >> 4 != 6:
        return HashType.NONE, b""
    payload, next_header = unpack_from("!HB", frame, start + 4)
    end = min(limit, start + 40 + payload) if payload else limit
    at, source, destination = start + 40, start + 8, start + 24
    extended = next_header in _EXTENSIONS
    if extended:
        next_header, at, source, destination = _walk(frame, next_header, at, end, source, destination, types)
    ports = frame[at : at + 4] if at + 4 <= end else b""
    if extended:
        chosen = _EX_TYPES.get(next_header, HashType.NONE) & types if ports else HashType.NONE
        if chosen:
            return chosen, frame[source : source + 16] + frame[destination : destination + 16] + ports
        if types & HashType.IP_EX:
            return HashType.IP_EX, frame[source : source + 16] + frame[destination : destination + 16]
    addresses = frame[start + 8 : start + 40]
    chosen = _V6_TYPES.get(next_header, HashType.NONE) & types if ports else HashType.NONE
    if chosen:
        return chosen, addresses + ports
    if types & HashType.IPv6:
        return HashType.IPv6, addresses
    return HashType.NONE, b""


def _walk(
    frame: bytes, this: int, at: int, end: int, source: int, destination: int, types: HashType
) -> tuple[int, int, int, int]:
    # Returns the first header that is no extension (_NONE if it cannot be reached), where it
    # begins, and where the two addresses to hash for the EX types are.
    for _ in range(MAX_EXTENSIONS):
        if this not in _EXTENSIONS:
            break
        if this == _ESP or at + 8 > end:
            return _NONE, at, source, destination
        following, length = frame[at], frame[at + 1]
        behind = at + (length + 1) * 8
        if this == _AH:
            behind = at + (length + 2) * 4
        elif this == _FRAGMENT:
            if unpack_from("!H", frame, at + 2)[0] & 0xFFF9:
                return _NONE, at, source, destination
            behind = at + 8
        elif this == _ROUTING and length == 2 and frame[at + 2 : at + 4] == b"\x02\x01" and behind <= end:
            destination = at + 8
        elif this == _DSTOPTS and types & _ANY_EX:
            source = _home_address(frame, at + 2, min(behind, end)) or source
        this, at = following, behind
    return this, at, source, destination


def _home_address(frame: bytes, at: int, end: int) -> int:
    # Where the last home address among the options is; 0 if there is none.
    found = 0
    for _ in range(MAX_OPTIONS):
        if at + 2 > end:
            break
        if frame[at] == 0:  # Pad1, the one option without a length
            at += 1
            continue
        behind = at + 2 + frame[at + 1]
        if frame[at] == _HOME_ADDRESS and frame[at + 1] == 16 and behind <= end:
            found = at + 2
        at = behind
    return found


def _enter_tunnel(
    frame: bytes, protocol: int, start: int, tunnels: TunnelType
) -> tuple[int, int, int] | None:
    # Returns the EtherType of what is inside, where it begins and where the packet ends; None for a frame
    # of no enabled encapsulation.
    at = end = len(frame)
    carried = _NONE
    if protocol == _IPV4 and len(frame) >= start + 20:
        version_ihl, total, fragment, carried = unpack_from("!BxHxxHxB", frame, start)
        header = (version_ihl & 15) * 4
        if version_ihl >> 4 != 4 or header < 20 or 0 < total < 20 or fragment & 0x3FFF:
            return None
        at, end = start + header, min(end, start + total) if total else end
        if carried == _IPIP:
            return (_IPV4, at, end) if at <= end and tunnels & TunnelType.IPIP else None
    elif protocol == _IPV6 and len(frame) >= start + 40 and frame[start] >> 4 == 6:
        payload, carried = unpack_from("!HB", frame, start + 4)
        end = min(end, start + 40 + payload) if payload else end
        carried, at, _, _ = _walk(frame, carried, start + 40, end, 0, 0, HashType.NONE)
    if carried == _UDP and at + 8 <= end:
        (port,) = unpack_from("!H", frame, at + 2)
        kind = _UDP_TUNNELS.get(port, TunnelType.NONE) & tunnels
        if kind == TunnelType.GRE_UDP:
            return _gre(frame, at + 8, end, kind, None)
        if kind and at + 16 <= end:
            return _udp_tunnel(frame, at + 8, end, kind)
    elif carried == _GRE:
        return _gre(frame, at, end, tunnels, protocol)
    return None


def _udp_tunnel(frame: bytes, at: int, end: int, kind: TunnelType) -> tuple[int, int, int] | None:
    first, second, third, last = unpack_from("!BBBB", frame, at)
    if kind == TunnelType.VXLAN:
        return (_ETHERNET, at + 8, end) if first & 0x08 else None  # flag I
    if kind == TunnelType.VXLAN_GPE:
        if first & 0x31:  # version, flag O
            return None
        return (_GPE_PROTOCOLS.get(last, _NOTHING) if first & 0x04 else _ETHERNET, at + 8, end)  # flag P
    if first & 0xC0 or second & 0x80:  # GENEVE: version, flag O
        return None
    behind = at + 8 + 4 * (first & 0x3F)
    return (third << 8 | last, behind, end) if behind <= end else None


def _gre(
    frame: bytes, at: int, end: int, tunnels: TunnelType, carrier: int | None
) -> tuple[int, int, int] | None:
    # carrier: the EtherType of the header before GRE's; None when that is UDP, for which tunnels say enough.
    if at + 4 > end:
        return None
    flags, protocol = unpack_from("!HH", frame, at)
    checksum, key, sequence = flags >> 15, flags >> 13 & 1, flags >> 12 & 1
    if flags & 0x4C07:  # routing, bits 4 and 5, version
        return None
    kinds = tunnels
    if carrier is not None:
        kinds = TunnelType.NONE
        if carrier == _IPV4:
            kinds |= TunnelType.GRE_2890 if key or sequence else TunnelType.GRE_2784
        if _IPV6 in (carrier, protocol):
            kinds |= TunnelType.GRE_7676
        if protocol == _ETHERNET and (checksum, key, sequence) == (0, 1, 0):
            kinds |= TunnelType.NVGRE
    behind = at + 4 + 4 * (checksum + key + sequence)
    return (protocol, behind, end) if kinds & tunnels and behind <= end else None
