# SPDX-License-Identifier: Apache-2.0
"""The proof of net/rss-report: frames through a TAP are read with the hash and type that they ought to have.

Values come from :mod:`holdfast.rss.reference`. Besides plain frames: such as come past tc or are too long
for a prefix, so that user space hashes them one by one; more than a queue holds; such as the qdisc netem
loses, doubles and reorders, where the kernel has it; and packets that are segmented on their way, or read
whole.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import select
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from holdfast.bundle.proof import Count, Proved
from holdfast.errors import KernelAccessError, PrivilegeError
from holdfast.load.netlink import Refused, Route
from holdfast.rss import frames, reference
from holdfast.rss import tc_messages as wire
from holdfast.rss.config import RssConfig
from holdfast.rss.report import Received, Reporting, Rung
from holdfast.rss.report_ask import where
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashType, TunnelType
from holdfast.rss.traffic import random_frames
from holdfast.rss.tunnel_traffic import random_tunnels
from holdfast.rss.vectors import KEY, VECTORS

__all__ = ["Expected", "expected", "open_sender", "prepare", "prepare_tunnels", "prove", "super_packet"]

QUEUES: Final = 4
FLOWS: Final = (1500, 500)
"""Random flows before and after the settings change."""
HEADER: Final = 12  # bytes of virtio-net header that the TAP is told to give
TUNNELS: Final = 1000
"""Random flows inside tunnels."""
PAST_TC: Final = 200
LARGE: Final = (16100, 16)  # payload bytes, and how many frames: no order-2 allocation holds one and a prefix
_BATCH: Final = 32
_PATIENCE: Final = 2.0  # seconds for the next frame to arrive
_SHOWN: Final = 5
_MTU: Final = 17000
_SOME: Final = 250  # frames between two looks: fewer than a queue holds, doubled
_QUIET: Final = 0.2  # seconds without a frame, after which none of those is still in a qdisc
_NETEM: Final = 0x4847_0000  # the handle of the qdisc
# struct tc_netem_qopt (include/uapi/linux/pkt_sched.h): latency and jitter in units of 64 ns, here 1 ms each;
# loss and duplicates in parts of 2^32.
_SHAKING: Final = struct.pack("=6I", 15625, 4096, 1 << 30, 0, 1 << 28, 15625)

# include/uapi/linux/if_packet.h, virtio_net.h, if_tun.h, sockios.h
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_QDISC_BYPASS = 263, 15, 20
_TCP_CHECK: Final = 16  # where the checksum is in a TCP header
_NEEDS_CSUM, _GSO_TCPV4, _GSO_TCPV6 = 1, 1, 4
_TUNSETOFFLOAD, _CSUM_AND_TSO = 0x400454D0, 0x7
_SIOCSIFMTU: Final = 0x8922
_VNET_HDR: Final = struct.Struct("=BBHHHH")


class Runs(Protocol):
    """What a proof needs of an outcome; :class:`holdfast.load.Outcome` has it."""

    @property
    def is_fallback(self) -> bool:
        """Whether no variant runs."""

    def program(self, name: str, /) -> Any:
        """Returns a loaded program, which has ``fd``."""

    def map(self, name: str, /) -> Any:
        """Returns a map, which has ``update(key, value)``."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A frame, and what the reference says of it: hash value (0 without one), report type, queue."""

    data: bytes
    value: int
    report: int
    queue: int


def expected(config: RssConfig, data: bytes) -> Expected:
    """Returns a frame with what the reference says of it."""
    kind, hashed = reference.select(reference.dissect(data, config.tunnel_types), config.types)
    if not kind:
        return Expected(data, 0, 0, config.unclassified)
    value = reference.toeplitz(config.key, hashed)
    return Expected(data, value, int(kind.report), config.table[value % len(config.table)])


def super_packet(version: int, size: int, *, source_port: int = 1234) -> tuple[bytes, bytes]:
    """Returns a TCP packet of ``size`` payload bytes as an Ethernet frame, and the ``struct virtio_net_hdr``
    that asks for segments of 1448 bytes.
    """
    segment = frames.tcp(source_port, 80, random.Random(size).randbytes(size))
    if version == 4:
        packet = frames.ipv4("10.1.2.3", "10.3.2.1", frames.TCP, segment)
        kind, start, addresses = _GSO_TCPV4, 34, packet[12:20]
    else:
        packet = frames.ipv6("2001:db8::1", "2001:db8::2", frames.TCP, segment)
        kind, start, addresses = _GSO_TCPV6, 54, packet[8:40]
    # Whoever leaves the checksum to others puts that of the pseudo header there.
    pseudo = sum(word for (word,) in struct.iter_unpack("!H", addresses)) + frames.TCP + len(segment)
    pseudo = (pseudo >> 16) + (pseudo & 0xFFFF)
    data = bytearray(frames.ethernet(packet))
    struct.pack_into("!H", data, start + _TCP_CHECK, (pseudo >> 16) + (pseudo & 0xFFFF))
    return bytes(data), _VNET_HDR.pack(_NEEDS_CSUM, kind, start + 20, 1448, start, _TCP_CHECK)


def open_sender(tap: MultiqueueTap, *, bypass: bool = False, headers: bool = False) -> socket.socket:
    """Returns a packet socket that sends to the TAP, past tc with ``bypass``; with ``headers`` each frame is
    given with a ``struct virtio_net_hdr`` before it.
    """
    from holdfast.load.netns import in_network_namespace

    def make() -> socket.socket:
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sender.bind((tap.name, 0))
        return sender

    namespace, _ = where(tap.fds[0])
    try:
        sender = in_network_namespace(namespace, make)
    finally:
        os.close(namespace)
    if bypass:
        sender.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    if headers:
        sender.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    return sender


# -- what is known before ------------------------------------------------------------------------------------


def prepare() -> list[dict[str, Any]]:
    """Returns the rounds of :func:`prove`: settings, and frames with what each must come with."""
    first = RssConfig.spread(KEY, QUEUES, unclassified=QUEUES - 1)
    chance = random.Random(21)
    second = RssConfig(
        random.Random(20).randbytes(40),
        ALL_TYPES & ~(HashType.TCPv4 | HashType.UDP_EX),
        tuple(chance.randrange(QUEUES) for _ in range(512)),
        unclassified=1,
    )
    published = [data for one in VECTORS for data, _, _ in one.frames()]
    size, count = LARGE
    large = [
        frames.ethernet(frames.ipv4("10.0.0.1", "10.0.0.2", 17, frames.udp(port, 53, bytes(size))))
        for port in range(1024, 1024 + count)
    ]
    flows = list(random_frames(FLOWS[0], 1))
    return [
        _round("frames of the published vectors", "plain", first, published),
        _round("random flows", "plain", first, flows),
        _round("random flows after a change", "plain", second, random_frames(FLOWS[1], 2)),
        _round("frames past tc", "past tc", first, random_frames(PAST_TC, 3)),
        _round("frames too long for a prefix", "large", first, large),
        _round("frames that a full queue kept", "burst", replace(first, table=(0,), unclassified=0), flows),
        _round("frames lost, doubled and out of order", "netem", first, flows),
        _round("segments and whole packets of TCP", "gso", first, [super_packet(v, 8000)[0] for v in (4, 6)]),
    ]


def prepare_tunnels() -> list[dict[str, Any]]:
    """Returns the rounds of :func:`prove` for net/rss-report-tunnel: those of net/rss-report, then frames in
    tunnels, with all looked into and with some.
    """
    first = RssConfig.spread(KEY, QUEUES, unclassified=2)
    first = replace(first, tunnel_types=ALL_TUNNELS)
    some = replace(first, tunnel_types=TunnelType.VXLAN | TunnelType.GRE_2890 | TunnelType.IPIP)
    return [
        *prepare(),
        _round("random flows inside tunnels", "plain", first, random_tunnels(TUNNELS, 3)),
        _round("flows inside tunnels, past tc", "past tc", first, random_tunnels(PAST_TC, 4)),
        _round("random flows, some tunnels looked into", "plain", some, random_tunnels(TUNNELS, 5)),
    ]


def _round(what: str, how: str, config: RssConfig, given: Iterable[bytes]) -> dict[str, Any]:
    judged = [expected(config, data) for data in given]
    return {
        "what": what,
        "how": how,
        "key": config.key,
        "types": int(config.types),
        "tunnel_types": int(config.tunnel_types),
        "table": bytes(config.table),  # QUEUES is far below 256
        "unclassified": config.unclassified,
        "frames": b"".join(one.data for one in judged),
        "sizes": struct.pack(f"<{len(judged)}H", *(len(one.data) for one in judged)),
        "values": struct.pack(f"<{len(judged)}I", *(one.value for one in judged)),
        "reports": bytes(one.report for one in judged),
        "queues": bytes(one.queue for one in judged),
    }


def _expected_of(one: Mapping[str, Any]) -> Iterator[Expected]:
    at = 0
    numbers = zip(
        struct.iter_unpack("<H", one["sizes"]),
        struct.iter_unpack("<I", one["values"]),
        one["reports"],
        one["queues"],
        strict=True,
    )
    for (size,), (value,), report, queue in numbers:
        yield Expected(one["frames"][at : at + size], value, report, queue)
        at += size


# -- what happens --------------------------------------------------------------------------------------------


def prove(outcome: Runs, rounds: Sequence[Mapping[str, Any]]) -> Proved:
    """Sends frames to a TAP and counts those that are read with the right hash, type and queue; ``rounds`` as
    :func:`prepare` returns them.

    The TAP, in a network namespace of its own, and all that is attached to it are gone at the return;
    programs and maps stay the caller's. Where no TAP can be had, that is what the result says.
    """
    try:
        tap = MultiqueueTap(QUEUES, header=HEADER)
    except (KernelAccessError, PrivilegeError) as error:
        return Proved(cannot=error.message)
    loaded = None if outcome.is_fallback else outcome
    tunnels = ALL_TUNNELS if any(one["tunnel_types"] for one in rounds) else TunnelType.NONE
    first = _config(rounds[0])
    with tap, Reporting(tap.fds, first, loaded, supported_tunnel_types=tunnels) as reporting:
        if loaded is not None and reporting.rung is Rung.USER:
            return Proved(cannot="; ".join(reporting.why))
        trial = _Trial(tap, reporting)
        counts = [counted for one in rounds if (counted := trial.run(one)) is not None]
        details = {
            "left_out": trial.left_out,
            "rung": str(reporting.rung),
            "attached": reporting.how,
            "rungs": {str(rung): count for rung, count in reporting.counts.items()},
            "types": dict(sorted(trial.types.items())),
        }
        return Proved(tuple(counts), tuple(trial.wrong), details=details)


def _config(one: Mapping[str, Any]) -> RssConfig:
    types, tunnels = HashType(one["types"]), TunnelType(one["tunnel_types"])
    return RssConfig(one["key"], types, tuple(one["table"]), one["unclassified"], tunnels)


class _Trial:
    def __init__(self, tap: MultiqueueTap, reporting: Reporting) -> None:
        self._tap = tap
        self._reporting = reporting
        self._steered = reporting.rung is not Rung.USER
        self.wrong: list[str] = []
        self.left_out: list[str] = []
        self.types = Counter[str]()

    def run(self, one: Mapping[str, Any]) -> Count | None:
        """Returns how many were right; None for what this kernel has no means for, which is noted."""
        self._reporting.configure(_config(one))
        wanted = list(_expected_of(one))
        match one["how"]:
            case "past tc":
                right, of = self._each(wanted, bypass=True), len(wanted)
            case "large":
                name = self._tap.name.encode()
                with open_sender(self._tap) as control:
                    fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", name, _MTU))
                right, of = self._each(wanted), len(wanted)
            case "burst":
                right, of = self._burst(wanted)
            case "netem":
                right, of = self._shaken(wanted)
            case "gso":
                right, of = self._super_packets(wanted)
            case _:
                right, of = self._each(wanted, rung=self._reporting.rung), len(wanted)
        if not of:
            self.left_out.append(f"{one['what']}: this kernel has no {one['how']}")
            return None
        return Count(one["what"], right, of)

    def _each(self, wanted: Sequence[Expected], *, bypass: bool = False, rung: Rung | None = None) -> int:
        right = 0
        if bypass:
            rung = Rung.USER if self._reporting.rung is Rung.BPF else self._reporting.rung
        with open_sender(self._tap, bypass=bypass) as sender:
            for first in range(0, len(wanted), _BATCH):
                batch = wanted[first : first + _BATCH]
                for one in batch:
                    sender.send(one.data)
                found = {got.frame: got for got in self._receive({one.data for one in batch})}
                right += sum(self._is_right(one, found.get(one.data), rung) for one in batch)
        return right

    def _burst(self, wanted: Sequence[Expected]) -> tuple[int, int]:
        # Nobody reads meanwhile, so that a queue overflows: what is read then must not be one frame off.
        by_frame = {one.data: one for one in wanted}
        with open_sender(self._tap) as sender:
            for one in wanted:
                sender.send(one.data)
        got = self._receive(set())
        known = [one for one in got if one.frame in by_frame]
        if not known:
            self._tell("nothing came of a burst")
        return sum(self._is_right(by_frame[one.frame], one, None) for one in known), max(len(known), 1)

    def _shaken(self, wanted: Sequence[Expected]) -> tuple[int, int]:
        # Frames have their prefixes when netem gets them. (0, 0) where there is none.
        namespace, name = where(self._tap.fds[0])
        try:
            route = Route(namespace)
        finally:
            os.close(namespace)
        by_frame = {one.data: at for at, one in enumerate(wanted)}
        with route, open_sender(self._tap) as sender:
            found = wire.device(route, name)
            try:
                if found is None:
                    raise Refused(errno.ENODEV, f"TAP {name} is gone")
                wire.add_qdisc(route, found.index, "netem", _NETEM, _SHAKING)
            except Refused as error:
                if error.errno == errno.ENOENT:
                    return 0, 0
                raise KernelAccessError(f"netem on TAP {name}: {error.strerror}") from None
            try:
                got: list[Received] = []
                for first in range(0, len(wanted), _SOME):
                    for one in wanted[first : first + _SOME]:
                        sender.send(one.data)
                    got += self._until_quiet()
            finally:
                wire.delete_root(route, found.index)
        got += self._until_quiet()  # what came late must not be among the next ones; no more can come now
        known = [one for one in got if one.frame in by_frame]
        seen = Counter(one.frame for one in known)
        orders = [[by_frame[one.frame] for one in known if one.queue == queue] for queue in range(QUEUES)]
        if (
            len(seen) == len(wanted)
            or len(seen) == len(known)
            or all(each == sorted(each) for each in orders)
        ):
            self._tell(f"netem: {len(known)} of {len(wanted)} came: none lost, doubled or out of order")
            return 0, len(wanted)
        return sum(self._is_right(wanted[by_frame[one.frame]], one, None) for one in known), len(known)

    def _until_quiet(self) -> list[Received]:
        got: list[Received] = []
        while select.select(self._tap.fds, (), (), _QUIET)[0]:
            for queue in range(QUEUES):
                got += self._reporting.read_batch(queue)
        return got

    def _super_packets(self, wanted: Sequence[Expected]) -> tuple[int, int]:
        right = of = 0
        with open_sender(self._tap, headers=True) as sender:
            for offload in (0, _CSUM_AND_TSO):
                fcntl.ioctl(self._tap.fds[0], _TUNSETOFFLOAD, offload)
                for one in wanted:
                    version = 4 if one.data[12:14] == b"\x08\x00" else 6
                    headers = 54 if version == 4 else 74
                    sender.send(super_packet(version, len(one.data) - headers)[1] + one.data)
                    got = self._receive({one.data} if offload else set())
                    whole = b"".join(each.frame[headers:] for each in got)
                    sound = whole == one.data[headers:] and (len(got) == 1) == bool(offload)
                    # A checksum that is left to the reader begins where the frame, not the prefix, says.
                    starts = {struct.unpack_from("<H", each.header, 6)[0] for each in got}
                    sound = sound and starts == ({headers - 20} if offload else {0})
                    if not sound:
                        self._tell(f"TCP over IPv{version}, offloads {offload}: {len(got)} frames are not it")
                    of += max(len(got), 1)
                    right += sound and sum(self._is_right(one, each, self._reporting.rung) for each in got)
        return right, of

    def _is_right(self, one: Expected, got: Received | None, rung: Rung | None) -> bool:
        if got is None:
            self._tell(f"{one.data[:80].hex()}: lost")
            return False
        self.types[got.hash_report.name] += 1
        right = (
            (got.hash_value, int(got.hash_report)) == (one.value, one.report)
            and (not self._steered or got.queue == one.queue)
            and rung in (None, got.rung)
        )
        if not right:
            self._tell(
                f"{one.data[:80].hex()}: {got.hash_report.name} 0x{got.hash_value:08x} in queue {got.queue} "
                f"by {got.rung}, expected {one.report} 0x{one.value:08x} in queue {one.queue} "
                f"by {rung or 'any'}"
            )
        return right

    def _tell(self, line: str) -> None:
        if len(self.wrong) < _SHOWN:
            self.wrong.append(line)

    def _receive(self, wanted: set[bytes]) -> list[Received]:
        # Until all that is wanted came; with nothing in particular wanted, what is there, once there is
        # something.
        got: list[Received] = []
        missing = set(wanted)
        while not got or missing:
            ready, _, _ = select.select(self._tap.fds, (), (), _PATIENCE)
            if not ready:
                break
            for queue in range(QUEUES):
                while batch := self._reporting.read_batch(queue):
                    got += batch
                    missing -= {one.frame for one in batch}
        return got
