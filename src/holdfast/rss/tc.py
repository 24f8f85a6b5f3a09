# SPDX-License-Identifier: Apache-2.0
"""Receive-side scaling by tc, where no steering program can be attached: a root qdisc, and rules in it.

::

    with holdfast.run("bundles/net/rss-tc") as outcome, TcSteering("tap0", outcome) as tc:
        tc.add(TcRule(1, key, (0, 1), match=Match(ip=4, protocol="tcp", destination_port=443)))
        tc.add(TcRule(2, key, (2, 3, 5)))

A rule is a filter of the root qdisc. One for all packets is the program itself; one with a match is a
flower filter that jumps to a chain of its own, where the program is: so no mark of a packet is touched.
The program finds the rule's number in the class of its filter and stores the queue in skb->queue_mapping.

It has to be a root qdisc: its filters run behind the choice of a queue, and what they store is where
the qdisc sends the packet to (qdisc_restart()). What a filter of clsact stores is overwritten
when the device chooses (netdev_core_pick_tx()), unless that was told to be skipped, as only act_skbedit does.
"""

from __future__ import annotations

import errno
import struct
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from holdfast.errors import HoldfastError, KernelAccessError, PrivilegeError, UsageError
from holdfast.load.netlink import Refused, Route
from holdfast.rss import tc_messages as wire
from holdfast.rss.config import MAX_TABLE_LEN, RssConfig
from holdfast.rss.grace import wait_for_readers
from holdfast.rss.tc_match import Match
from holdfast.rss.terms import ALL_TYPES, HashType, TunnelType
from holdfast.rss.toeplitz import KEY_BYTES, pack_rows

__all__ = [
    "HANDLE",
    "MOST_RULES",
    "QDISCS",
    "Match",
    "TcRule",
    "TcSteering",
    "counted",
    "detach",
    "refuse_by_kind",
]

HANDLE: Final = 0x4846_0000
"""The root qdisc that is made here: by its handle it is known again."""

QDISCS: Final = ("multiq", "prio", "htb")
"""The kinds that it may be, the best first. All run filters when a packet comes, and heed queue_mapping when
it goes. ``multiq`` alone has a list for each queue."""

MOST_RULES: Final = 4096
_NEXT_FILTER: Final = 0xFFFF
_HEAD: Final = struct.Struct("=8I")


class Ready(Protocol):
    """What is needed of the outcome of the bundle net/rss-tc; ``holdfast.run()`` returns one."""

    def program(self, name: str, /) -> Any:
        """Returns a loaded program, which has ``fd``."""

    def map(self, name: str, /) -> Any:
        """Returns a map, which has ``update``, ``delete`` and ``items``."""


@dataclass(frozen=True, slots=True)
class TcRule:
    """One rule. Rules are asked in the order of their numbers, 1 to 4096.

    ``queues`` has 1 to 512 queues, any number of them: a packet takes ``queues[hash % len(queues)]``.
    ``unclassified`` is the queue of packets that are not hashed; None leaves them to the next rule where
    ``match`` is None, and else to the device's own choice. ``key`` has 40 to 255 bytes, of which 40 count.
    ``tunnel_types`` are the encapsulations whose inner headers are hashed; ``match`` looks at the outer ones.

    Raises :class:`~holdfast.errors.UsageError` that names the member and what it may be.
    """

    number: int
    key: bytes
    queues: tuple[int, ...]
    types: HashType = ALL_TYPES
    unclassified: int | None = None
    match: Match | None = None
    tunnel_types: TunnelType = TunnelType.NONE

    def __post_init__(self) -> None:
        object.__setattr__(self, "queues", tuple(self.queues))
        if not 1 <= self.number <= MOST_RULES:
            raise UsageError(f"tc rule {self.number}", hint=f"give a number from 1 to {MOST_RULES}")
        if not 1 <= len(self.queues) <= MAX_TABLE_LEN:
            raise UsageError(f"tc rule {self.number} has {len(self.queues)} queues", hint="give 1 to 512")
        for queue in (*self.queues, self.unclassified or 0):
            if not 0 <= queue < _NEXT_FILTER:
                raise UsageError(f"tc rule {self.number} names queue {queue}", hint="give 0 to 65534")
        # Key and types are those of any other form.
        checked = RssConfig(self.key, self.types, tunnel_types=self.tunnel_types)
        object.__setattr__(self, "key", checked.key)
        object.__setattr__(self, "types", checked.types)
        object.__setattr__(self, "tunnel_types", checked.tunnel_types)

    def queue_of(self, value: int) -> int:
        """Returns the queue of the hash ``value``."""
        return self.queues[value % len(self.queues)]

    def pack(self, limit: int) -> bytes:
        """Returns the 5704 bytes of ``struct rss_tc_rule``; ``limit`` is the device's number of queues."""
        rest = _NEXT_FILTER if self.unclassified is None else self.unclassified
        head = _HEAD.pack(self.types, self.tunnel_types, len(self.queues), rest, limit, 0, 0, 0)
        spare = (0,) * (MAX_TABLE_LEN - len(self.queues))
        queues = struct.pack(f"={MAX_TABLE_LEN}H", *self.queues, *spare)
        return head + self.key[:KEY_BYTES] + pack_rows(self.key) + queues

    @classmethod
    def unpack(cls, number: int, value: bytes, match: Match | None) -> TcRule:
        """Returns the rule that a value of the map tells."""
        types, tunnels, count, rest, *_ = _HEAD.unpack_from(value)
        queues = struct.unpack_from(f"={count}H", value, len(value) - 2 * MAX_TABLE_LEN)
        unclassified = None if rest == _NEXT_FILTER else rest
        key = value[_HEAD.size : _HEAD.size + KEY_BYTES]
        return cls(number, key, queues, HashType(types), unclassified, match, TunnelType(tunnels))

    def to_dict(self) -> dict[str, object]:
        """Returns the rule for JSON."""
        return {
            "number": self.number,
            "key": self.key.hex(),
            "queues": list(self.queues),
            "types": [name for name, one in HashType.__members__.items() if one and one in self.types],
            "tunnel_types": [
                name for name, one in TunnelType.__members__.items() if one and one in self.tunnel_types
            ],
            "unclassified": self.unclassified,
            "match": None if self.match is None else self.match.to_dict(),
        }


class TcSteering:
    """The rules of one device. Closing leaves them in place: :meth:`detach` takes them away.

    The filters keep the program alive, and it the map; the outcome is the caller's. There is one writer of
    rules. Making one raises :class:`~holdfast.errors.UsageError` for a device that is not there, that has
    one queue, that is a macvtap, or whose root qdisc somebody chose;
    :class:`~holdfast.errors.KernelAccessError`, with what is missing, where the kernel has none of
    :data:`QDISCS`; :class:`~holdfast.errors.PrivilegeError` without CAP_NET_ADMIN.
    """

    def __init__(
        self,
        device: str,
        outcome: Ready,
        *,
        qdisc: str | None = None,
        namespace: int | None = None,
        supported_tunnel_types: TunnelType = TunnelType.NONE,
    ) -> None:
        """``qdisc`` names one of :data:`QDISCS`, the best that there is if it is None. ``namespace`` is a
        descriptor of the device's network namespace, if it is not this thread's. ``supported_tunnel_types``
        are those that the program can look into: ``ALL_TUNNELS`` for the bundle net/rss-tc-tunnel.
        """
        if qdisc is not None and qdisc not in QDISCS:
            raise UsageError(f"no qdisc {qdisc!r} for this", hint=f"one of {', '.join(QDISCS)}")
        self._tunnels = supported_tunnel_types
        self._program_fd: int = outcome.program("rss_tc").fd
        self._map = outcome.map("rss_tc_rules")
        self._packets = outcome.map("rss_tc_packets")
        self._route = Route(namespace)
        try:
            self.device = _device(self._route, device)
            self.qdisc = _take(self._route, self.device, QDISCS if qdisc is None else (qdisc,))
        except BaseException:
            self._route.close()
            raise

    def add(self, rule: TcRule) -> None:
        """Adds a rule, or replaces the settings of the one of that number: at once for every packet.

        Raises :class:`~holdfast.errors.UsageError` for queues that the device has not, for tunnel types that
        the program does not support, and for another match than the rule had;
        :class:`~holdfast.errors.KernelAccessError` where the kernel lacks a classifier.
        """
        for queue in (*rule.queues, rule.unclassified or 0):
            if queue >= self.device.queues:
                raise UsageError(
                    f"{self.device.name}: tc rule {rule.number} names queue {queue}",
                    hint=f"the device has {self.device.queues} queues, from 0 on",
                )
        if beyond := rule.tunnel_types & ~self._tunnels:
            raise UsageError(
                f"tc rule {rule.number}: this program does not hash inside tunnels: {beyond!r}",
                hint="load the bundle net/rss-tc-tunnel, or enable no tunnel types",
            )
        known = self._matches()
        if rule.number in known and known[rule.number] != rule.match:
            raise UsageError(
                f"{self.device.name}: tc rule {rule.number} matches something else",
                hint="remove it first, or give another number",
            )
        self._map.update(rule.number, rule.pack(self.device.queues))
        # Its memory may be used for the next rule, so nobody may read the old one any more.
        wait_for_readers()
        if rule.number not in known:
            try:
                self._add_filters(rule)
            except BaseException:
                self._map.delete(rule.number)
                wait_for_readers()
                raise

    def _add_filters(self, rule: TcRule) -> None:
        index, number = self.device.index, rule.number
        chain = 0 if rule.match is None else number
        try:
            wire.add_bpf_filter(self._route, index, HANDLE, number, HANDLE | number, self._program_fd, chain)
            if rule.match is not None:
                try:
                    wire.add_jump(
                        self._route, index, HANDLE, number, rule.match.ethertype, rule.match.pack(), number
                    )
                except BaseException:
                    wire.delete_filter(self._route, index, HANDLE, number, wire.ETH_P_ALL, "bpf", chain)
                    raise
        except Refused as error:
            need = "cls_bpf" if rule.match is None else "cls_bpf, cls_flower and act_gact"
            raise _explained(error, f"{self.device.name}: tc rule {number}", need) from None

    def remove(self, number: int) -> None:
        """Removes a rule. Raises :class:`~holdfast.errors.UsageError` if there is none of that number."""
        known = self._matches()
        if number not in known:
            raise UsageError(f"{self.device.name}: there is no tc rule {number}")
        match, index = known[number], self.device.index
        if match is not None:
            wire.delete_filter(self._route, index, HANDLE, number, match.ethertype, "flower", 0)
        chain = 0 if match is None else number
        wire.delete_filter(self._route, index, HANDLE, number, wire.ETH_P_ALL, "bpf", chain)
        self._map.delete(number)
        wait_for_readers()

    def rules(self) -> list[TcRule]:
        """Returns the rules that are in force, as the kernel tells them."""
        found = []
        for number, match in sorted(self._matches().items()):
            value = self._map.lookup(number)
            if value is not None:
                found.append(TcRule.unpack(number, value, match))
        return found

    def _matches(self) -> dict[int, Match | None]:
        there = list(wire.filters(self._route, self.device.index, HANDLE))
        found: dict[int, Match | None] = {
            one.priority: None for one in there if one.kind == "bpf" and not one.chain
        }
        jumps = {one.priority: one for one in there if one.kind == "flower" and not one.chain}
        return found | {number: Match.unpack(one.options) for number, one in jumps.items()}

    def packets(self) -> dict[int, int]:
        """Returns how many packets were given to each queue since the program was loaded."""
        return counted(self._packets)

    def detach(self) -> None:
        """Takes the qdisc and all rules away; the device chooses by itself again."""
        for one in self.rules():
            self._map.delete(one.number)
        wire.delete_root(self._route, self.device.index)

    def close(self) -> None:
        """Closes the netlink socket; the rules stay in force."""
        self._route.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def detach(device: str) -> bool:
    """Returns whether the device had the qdisc of this module; it is gone now, with every rule.

    Raises as :class:`TcSteering`.
    """
    with Route() as route:
        found = _device(route, device)
        there = wire.root_qdisc(route, found.index)
        if there is None or there[1] != HANDLE:
            return False
        try:
            wire.delete_root(route, found.index)
        except Refused as error:
            raise _explained(error, f"{device}: taking the qdisc away", "") from None
        return True


def counted(packets: Any) -> dict[int, int]:
    """Returns the sums of the map ``rss_tc_packets`` over all CPUs, of the queues that have some."""
    found = {}
    for queue, values in packets.items_per_cpu():
        if total := sum(int.from_bytes(one, sys.byteorder) for one in values):
            found[int.from_bytes(queue, sys.byteorder)] = total
    return found


def _device(route: Route, name: str) -> wire.Device:
    if not 1 <= len(name.encode()) <= 15:
        raise UsageError(f"no network device is named {name!r}", hint="give a name of 1 to 15 bytes")
    found = wire.device(route, name)
    if found is None:
        raise UsageError(f"there is no network device {name}", hint="ip link shows those of this namespace")
    return found


def refuse_by_kind(device: wire.Device) -> None:
    """Raises :class:`~holdfast.errors.UsageError` for a device whose queues no program can choose."""
    # tap_get_queue() of drivers/net/tap.c: by skb_get_hash(), which the driver below or the flow dissector
    # made, in all releases up to 7.3; such a TAP has no steering ioctl, and its own qdisc sees the other way.
    if device.kind in ("macvtap", "ipvtap"):
        raise UsageError(
            f"{device.name}: is a {device.kind}: the kernel chooses its queues by a hash of its own",
            hint="use a TAP on a bridge",
        )


def _take(route: Route, device: wire.Device, kinds: tuple[str, ...]) -> str:
    refuse_by_kind(device)
    if device.queues < 2:
        raise UsageError(
            f"{device.name}: has one transmit queue", hint="make the TAP with multi_queue, or numtxqueues"
        )
    there = wire.root_qdisc(route, device.index)
    if there is not None and there[1] == HANDLE:
        return there[0]
    if there is not None and there[1]:
        raise UsageError(
            f"{device.name}: has the root qdisc {there[0]} {there[1] >> 16:x}: of somebody else",
            hint=f"tc qdisc del dev {device.name} root, if it is not needed",
        )
    missing = []
    for kind in kinds:
        try:
            wire.add_qdisc(route, device.index, kind, HANDLE)
        except Refused as error:
            if error.errno != errno.ENOENT:
                raise _explained(error, f"{device.name}: qdisc {kind}", f"sch_{kind}") from None
            missing.append(f"sch_{kind}")
        else:
            return kind
    raise KernelAccessError(
        f"{device.name}: this kernel has none of {', '.join(missing)}", hint="load one of these modules"
    )


def _explained(error: Refused, what: str, needs: str) -> HoldfastError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrivilegeError(f"{what}: {error.strerror}", hint="run as root or with CAP_NET_ADMIN")
    if error.errno == errno.ENOENT and needs:
        return KernelAccessError(
            f"{what}: {error.strerror}", hint=f"the kernel needs {needs}: load what is missing"
        )
    return KernelAccessError(f"{what}: {error.strerror}")
