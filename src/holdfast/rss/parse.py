# SPDX-License-Identifier: Apache-2.0
"""From a frame to what is hashed of it: the rules of bundles/net/rss/classify.h, in Python.

The comment at the head of that file says how what the specification leaves open is settled; both
follow it, and :mod:`holdfast.rss.reference` checks both.
"""

from __future__ import annotations

from struct import unpack_from

from holdfast.rss.terms import HashType

__all__ = ["hash_input"]

MAX_EXTENSIONS = 8
MAX_OPTIONS = 16
MAX_TAGS = 2

_VLAN = frozenset((0x8100, 0x88A8))
_EXTENSIONS = frozenset((0, 43, 44, 50, 51, 60, 135, 139, 140))
_ROUTING, _FRAGMENT, _ESP, _AH, _NONE, _DSTOPTS = 43, 44, 50, 51, 59, 60
_HOME_ADDRESS = 0xC9
_ANY_EX = HashType.IP_EX | HashType.TCP_EX | HashType.UDP_EX

_V4_TYPES = {6: HashType.TCPv4, 17: HashType.UDPv4}
_V6_TYPES = {6: HashType.TCPv6, 17: HashType.UDPv6}
_EX_TYPES = {6: HashType.TCP_EX, 17: HashType.UDP_EX}


def hash_input(frame: bytes, types: HashType) -> tuple[HashType, bytes]:
    """Returns the hash type of an Ethernet frame among ``types`` and the bytes to hash, in network order.

    ``(HashType.NONE, b"")`` when the frame is not hashed. Any bytes are a frame; nothing is raised.
    """
    if len(frame) < 14:
        return HashType.NONE, b""
    (protocol,) = unpack_from("!H", frame, 12)
    start = 14
    for _ in range(MAX_TAGS):
        if protocol not in _VLAN:
            break
        if len(frame) < start + 4:
            return HashType.NONE, b""
        (protocol,) = unpack_from("!H", frame, start + 2)
        start += 4
    if protocol == 0x0800:
        return _ipv4(frame, start, types)
    if protocol == 0x86DD:
        return _ipv6(frame, start, types)
    return HashType.NONE, b""


def _ipv4(frame: bytes, start: int, types: HashType) -> tuple[HashType, bytes]:
    if len(frame) < start + 20:
        return HashType.NONE, b""
    version_ihl, total, fragment, protocol = unpack_from("!BxHxxHxB", frame, start)
    header = (version_ihl & 15) * 4
    if version_ihl >> 4 != 4 or header < 20 or 0 < total < 20:
        return HashType.NONE, b""
    end = min(len(frame), start + total) if total else len(frame)
    addresses = frame[start + 12 : start + 20]
    wanted = _V4_TYPES.get(protocol, HashType.NONE) & types
    ports = start + header
    if wanted and not fragment & 0x3FFF and ports + 4 <= end:
        return wanted, addresses + frame[ports : ports + 4]
    if types & HashType.IPv4:
        return HashType.IPv4, addresses
    return HashType.NONE, b""


def _ipv6(frame: bytes, start: int, types: HashType) -> tuple[HashType, bytes]:
    if len(frame) < start + 40 or frame[start] >> 4 != 6:
        return HashType.NONE, b""
    payload, next_header = unpack_from("!HB", frame, start + 4)
    end = min(len(frame), start + 40 + payload) if payload else len(frame)
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
