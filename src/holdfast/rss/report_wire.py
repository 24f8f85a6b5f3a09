# SPDX-License-Identifier: Apache-2.0
"""What is in front of a frame: the prefix of the bundle net/rss-report, and the headers of virtio-net.

Layouts: ``struct report_prefix`` of bundles/net/rss-report/report.h; ``struct virtio_net_hdr_v1_hash`` of
virtio 1.3, section 5.1.6, all of it little-endian.
"""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import Final

from holdfast.rss.terms import HashReport

__all__ = [
    "HEADER_BYTES",
    "PREFIX_BYTES",
    "PrefixFlag",
    "hash_header",
    "reported_by_kernel",
    "template",
    "without_prefix",
]

HEADER_BYTES: Final = 20
"""Bytes of ``struct virtio_net_hdr_v1_hash``."""

PREFIX_BYTES: Final = 12
"""Bytes of ``struct report_prefix``."""

LENGTH_MAX: Final = 0xFFFF
"""This length or more, in a prefix."""

_PREFIX: Final = struct.Struct("<IBBHI")  # hash_value, hash_report, flags, length, cookie
_LEGACY: Final = {little: struct.Struct(f"{'<' if little else '>'}BBHHHH") for little in (True, False)}
_V1_HASH: Final = struct.Struct("<BBHHHHHIHH")
_REPORT: Final = struct.Struct("<IH")
_REPORT_AT: Final = 12  # of hash_value in struct virtio_net_hdr_v1_hash
_NEEDS_CSUM: Final = 1  # VIRTIO_NET_HDR_F_NEEDS_CSUM
_ONE_BUFFER: Final = 1  # num_buffers without VIRTIO_NET_F_MRG_RXBUF
_TAG: Final = 4  # bytes of a VLAN tag
_ADDRESSES: Final = 12  # bytes before it
_MOST: Final = int(max(HashReport))


class PrefixFlag(IntFlag):
    """REPORT_FLAG_* of report.h."""

    VLAN = 1
    GSO = 2


# Plain numbers: each operation with a flag of an enum costs as much as all the rest of taking off a prefix.
_VLAN: Final = int(PrefixFlag.VLAN)
_GSO: Final = int(PrefixFlag.GSO)
_FLAGS: Final = _VLAN | _GSO


def template(cookie: int) -> bytes:
    """Returns the 16 bytes of ``struct report_config``."""
    return _PREFIX.pack(0, 0, 0, 0, cookie) + bytes(4)


def without_prefix(data: bytes, cookie: int) -> tuple[int, int, bytes] | None:
    """Returns hash value, report type and the frame behind a prefix; None where ``data`` begins with none.

    A VLAN tag that the TAP put between prefix and frame is moved to its place, behind the addresses. That a
    frame without a prefix is taken for one that has it takes a sender who guesses 32 bits.
    """
    size = len(data) - PREFIX_BYTES
    if size < 0:
        return None
    value, report, flags, length, seen = _PREFIX.unpack_from(data)
    if seen != cookie or report > _MOST or flags & ~_FLAGS:
        return None
    if flags & _VLAN:
        size -= _TAG
    # What was cut into segments on its way has the prefix of the whole in front of each.
    whole = size >= length if length == LENGTH_MAX else size == length
    if size < 0 or not (whole or (flags & _GSO and size <= length)):
        return None
    if not flags & _VLAN:
        return value, report, data[PREFIX_BYTES:]
    tag = data[PREFIX_BYTES : PREFIX_BYTES + _TAG]
    behind = PREFIX_BYTES + _TAG + _ADDRESSES
    return value, report, data[PREFIX_BYTES + _TAG : behind] + tag + data[behind:]


def hash_header(header: bytes, value: int, report: int, *, shift: int = 0, little: bool = True) -> bytes:
    """Returns the 20 bytes of ``struct virtio_net_hdr_v1_hash`` for a frame.

    ``header`` is what the TAP gave, 10 bytes or more, in the order ``little`` tells; empty for a TAP without
    headers. ``shift`` bytes that are no part of the frame were in front of it when the kernel counted:
    csum_start and hdr_len shrink by that. ``num_buffers`` is 1: who merges buffers knows better.
    """
    if not header:
        return _V1_HASH.pack(0, 0, 0, 0, 0, 0, _ONE_BUFFER, value, report, 0)
    flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = _LEGACY[little].unpack_from(header)
    if shift:
        hdr_len = max(hdr_len - shift, 0)
        if flags & _NEEDS_CSUM:
            csum_start = max(csum_start - shift, 0)
    return _V1_HASH.pack(
        flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, _ONE_BUFFER, value, report, 0
    )


def reported_by_kernel(header: bytes) -> tuple[int, int]:
    """Returns hash value and report type out of a header of 20 bytes that a kernel filled in itself."""
    value, report = _REPORT.unpack_from(header, _REPORT_AT)
    return value, report
