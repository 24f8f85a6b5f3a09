# SPDX-License-Identifier: Apache-2.0
"""Which packets a rule of tc is for: keys of the classifier flower, in and out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from holdfast.errors import UsageError
from holdfast.load.netlink import attribute

__all__ = ["Match"]

# include/uapi/linux/pkt_cls.h, TCA_FLOWER_KEY_*
_ETH_DST, _ETH_DST_MASK, _ETH_SRC, _ETH_SRC_MASK, _ETH_TYPE, _IP_PROTO = 4, 5, 6, 7, 8, 9
_ADDRESSES: Final = {(4, "source"): 10, (4, "destination"): 12, (6, "source"): 14, (6, "destination"): 16}
_PORTS: Final = {
    ("tcp", "source_port"): 18,
    ("tcp", "destination_port"): 19,
    ("udp", "source_port"): 20,
    ("udp", "destination_port"): 21,
}
_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
_PROTOCOLS: Final = {"tcp": 6, "udp": 17}


@dataclass(frozen=True, slots=True)
class Match:
    """What must be equal; None is anything. At least one member is given.

    ``source`` and ``destination`` are networks or addresses (``"10.0.0.0/8"``), of one IP version;
    ``protocol`` is ``"tcp"`` or ``"udp"`` and needed for ports; ``source_mac`` and ``destination_mac`` are
    text (``"02:00:00:00:00:01"``). A frame with a VLAN tag is no IPv4 or IPv6 packet to flower.

    Raises :class:`~holdfast.errors.UsageError` for what cannot be.
    """

    ip: int | None = None
    protocol: str | None = None
    source: str | None = None
    destination: str | None = None
    source_port: int | None = None
    destination_port: int | None = None
    source_mac: str | None = None
    destination_mac: str | None = None

    def __post_init__(self) -> None:
        for name in ("source", "destination"):
            if (given := getattr(self, name)) is None:
                continue
            network = _network(given)
            if self.ip not in (None, network.version):
                raise UsageError(
                    f"a rule matches IPv{self.ip} and the address {given}", hint="give one version"
                )
            object.__setattr__(self, "ip", network.version)
            object.__setattr__(self, name, str(network))
        if self.ip not in (None, 4, 6):
            raise UsageError(f"a rule matches IP version {self.ip}", hint="give 4 or 6")
        if self.protocol is not None and self.protocol not in _PROTOCOLS:
            raise UsageError(f"a rule matches the protocol {self.protocol!r}", hint="give tcp or udp")
        if self.protocol is not None and self.ip is None:
            raise UsageError("a rule matches a protocol of no IP version", hint="give ip=4 or ip=6")
        for name in ("source_port", "destination_port"):
            port = getattr(self, name)
            if port is None:
                continue
            if self.protocol is None:
                raise UsageError("a rule matches ports of no protocol", hint="give protocol='tcp' or 'udp'")
            if not 0 <= port <= 0xFFFF:
                raise UsageError(f"a rule matches port {port}", hint="give 0 to 65535")
        for name in ("source_mac", "destination_mac"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, _mac(given).hex(":"))
        if not self.to_dict():
            raise UsageError("a rule matches nothing in particular", hint="give match=None for all packets")

    @property
    def ethertype(self) -> int:
        """Returns the protocol that the filter is registered for."""
        return {None: _ETH_P_ALL, 4: _ETH_P_IP, 6: _ETH_P_IPV6}[self.ip]

    def pack(self) -> bytes:
        """Returns flower's attributes."""
        said = b""
        if self.ip is not None:
            said += attribute(_ETH_TYPE, struct.pack("!H", self.ethertype))
        for kind, mac in ((_ETH_DST, self.destination_mac), (_ETH_SRC, self.source_mac)):
            if mac is not None:
                said += attribute(kind, _mac(mac)) + attribute(kind + 1, b"\xff" * 6)
        if self.protocol is not None:
            said += attribute(_IP_PROTO, bytes((_PROTOCOLS[self.protocol],)))
        for (version, name), kind in _ADDRESSES.items():
            given = getattr(self, name)
            if given is not None and version == self.ip:
                network = _network(given)
                said += attribute(kind, network.network_address.packed)
                said += attribute(kind + 1, network.netmask.packed)
        for (protocol, name), kind in _PORTS.items():
            port = getattr(self, name)
            if port is not None and protocol == self.protocol:
                said += attribute(kind, struct.pack("!H", port))
        return said

    @classmethod
    def unpack(cls, options: dict[int, bytes]) -> Match:
        """Returns the match that flower's attributes tell. Keys of others are left out."""
        told: dict[str, Any] = {}
        if _ETH_TYPE in options:
            kind = int.from_bytes(options[_ETH_TYPE], "big")
            told["ip"] = {_ETH_P_IP: 4, _ETH_P_IPV6: 6}.get(kind)
        if _IP_PROTO in options:
            numbers = {number: name for name, number in _PROTOCOLS.items()}
            told["protocol"] = numbers.get(options[_IP_PROTO][0])
        for (version, name), kind in _ADDRESSES.items():
            if kind in options and version == told.get("ip"):
                mask = int.from_bytes(options[kind + 1], "big")
                address = {4: IPv4Network, 6: IPv6Network}[version]((options[kind], mask.bit_count()))
                told[name] = str(address)
        for (protocol, name), kind in _PORTS.items():
            if kind in options and protocol == told.get("protocol"):
                told[name] = int.from_bytes(options[kind], "big")
        for kind, name in ((_ETH_DST, "destination_mac"), (_ETH_SRC, "source_mac")):
            if kind in options:
                told[name] = options[kind].hex(":")
        return cls(**told)

    def to_dict(self) -> dict[str, object]:
        """Returns what is matched, for JSON."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


def _network(given: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(given)
    except ValueError as error:
        raise UsageError(f"a rule matches {given!r}: {error}", hint="give an address or a network") from None


def _mac(given: str) -> bytes:
    try:
        found = bytes.fromhex(given.replace(":", ""))
    except ValueError:
        found = b""
    if len(found) != 6:
        raise UsageError(
            f"a rule matches the MAC address {given!r}", hint="give six bytes, aa:bb:cc:dd:ee:ff"
        )
    return found
