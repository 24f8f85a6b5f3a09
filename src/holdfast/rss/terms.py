# SPDX-License-Identifier: Apache-2.0
"""The virtio specification's names for hash types and hash reports, with its bits and numbers.

Source: virtio 1.3, section 5.1.6.4.3 ("Processing of Incoming Packets", hash types and hash
reports); the same numbers are in Linux's include/uapi/linux/virtio_net.h.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from holdfast.errors import UsageError

__all__ = ["ALL_TYPES", "HashReport", "HashType"]


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
        known = {name.lower(): member for name, member in cls.__members__.items()} | {"all": ALL_TYPES}
        types = cls.NONE
        for name in filter(None, (part.strip() for part in text.split(","))):
            if name.lower() not in known:
                names = ", ".join(cls.__members__)
                raise UsageError(
                    f"unknown hash type '{name}'", hint=f"one or more of {names}, all; separated by commas"
                )
            types |= known[name.lower()]
        return types


ALL_TYPES = HashType(0x1FF)
"""The nine types; everything that a device without tunnel support can hash."""
