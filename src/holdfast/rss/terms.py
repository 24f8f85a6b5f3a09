# SPDX-License-Identifier: Apache-2.0
"""The virtio specification's names for hash types, tunnel types and hash reports, with bits and numbers.

Source: virtio 1.3, section 5.1.6.4.3 ("Processing of Incoming Packets": hash types, hash reports,
encapsulation types); the numbers but the last are in Linux's include/uapi/linux/virtio_net.h, too.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TypeVar

from holdfast.errors import UsageError

__all__ = ["ALL_TUNNELS", "ALL_TYPES", "HashReport", "HashType", "TunnelType"]

_Flags = TypeVar("_Flags", bound=IntFlag)


def _parse(text: str, kind: type[_Flags], what: str) -> _Flags:
    known = {name.lower(): member for name, member in kind.__members__.items()}
    every = kind(0)
    for member in kind:
        every |= member
    known["all"] = every
    found = kind(0)
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name.lower() not in known:
            names = ", ".join(kind.__members__)
            raise UsageError(
                f"unknown {what} type '{name}'", hint=f"one or more of {names}, all; separated by commas"
            )
        found |= known[name.lower()]
    return found


class HashReport(IntEnum):
    """VIRTIO_NET_HASH_REPORT_*: what a hash was computed of, as told to a driver."""

    NONE = 0
    IPv4 = 1
    TCPv4 = 2
    UDPv4 = 3
    IPv6 = 4
    TCPv6 = 5
    UDPv6 = 6
    IPv6_EX = 7
    TCPv6_EX = 8
    UDPv6_EX = 9


class HashType(IntFlag):
    """VIRTIO_NET_RSS_HASH_TYPE_*: what a device may hash. The EX types are independent of the others."""

    NONE = 0
    IPv4 = 1 << 0
    TCPv4 = 1 << 1
    UDPv4 = 1 << 2
    IPv6 = 1 << 3
    TCPv6 = 1 << 4
    UDPv6 = 1 << 5
    IP_EX = 1 << 6
    TCP_EX = 1 << 7
    UDP_EX = 1 << 8

    @property
    def report(self) -> HashReport:
        """Returns the report of this one type. Raises :class:`ValueError` for a combination."""
        if self.value & (self.value - 1):
            raise ValueError(f"{self!r} is more than one hash type")
        return HashReport(self.value.bit_length())

    @classmethod
    def parse(cls, text: str) -> HashType:
        """Returns the types named in ``text``, e.g. ``"TCPv4,UDPv4"``, ``all``, ``none``; in any case.

        Raises :class:`~holdfast.errors.UsageError` for a name that the specification does not have.
        """
        return _parse(text, cls, "hash")


class TunnelType(IntFlag):
    """VIRTIO_NET_HASH_TUNNEL_TYPE_*: encapsulations whose inner headers a device may hash instead."""

    NONE = 0
    GRE_2784 = 1 << 0
    GRE_2890 = 1 << 1
    GRE_7676 = 1 << 2
    GRE_UDP = 1 << 3
    VXLAN = 1 << 4
    VXLAN_GPE = 1 << 5
    GENEVE = 1 << 6
    IPIP = 1 << 7
    NVGRE = 1 << 8

    @classmethod
    def parse(cls, text: str) -> TunnelType:
        """Returns the types named in ``text``, e.g. ``"VXLAN,GENEVE"``, ``all``, ``none``; in any case.

        Raises :class:`~holdfast.errors.UsageError` for a name that the specification does not have.
        """
        return _parse(text, cls, "tunnel")


ALL_TYPES = HashType(0x1FF)
"""The nine types; everything that a device without tunnel support can hash."""

ALL_TUNNELS = TunnelType(0x1FF)
"""The nine encapsulations of VIRTIO_NET_F_HASH_TUNNEL."""
