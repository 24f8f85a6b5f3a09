# SPDX-License-Identifier: Apache-2.0
"""The proof of net/rss-tc: frames through a TAP whose root qdisc has rules.

One rule for everything, then more than 32 rules, each for packets of its own by flower where the kernel has
it, each with its own key, types and list of queues; and the first once more with each other kind of qdisc
that the kernel has.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from holdfast.bundle.proof import Count, Proved
from holdfast.errors import HoldfastError, KernelAccessError, PrivilegeError
from holdfast.rss import frames, reference
from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Steering
from holdfast.rss.prove import QUEUES, Steered
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.tc import QDISCS, Match, TcRule, TcSteering
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashType, TunnelType
from holdfast.rss.traffic import random_frames
from holdfast.rss.tunnel_traffic import random_tunnels
from holdfast.rss.vectors import KEY, VECTORS

__all__ = ["RULES", "prepare", "prepare_tunnels", "prove"]

RULES: Final = 40
"""Rules that are in force at once, each for another TCP port."""
FLOWS: Final = 1000
TUNNELS: Final = 800
"""Random flows inside tunnels."""
_SIOCGSKNS: Final = 0x894C
_FIRST_PORT: Final = 20_000
_SHOWN: Final = 5


def prepare() -> list[dict[str, Any]]:
    """Returns the rounds of :func:`prove`: rules, and frames with the queue that each must reach."""
    everything = TcRule(RULES + 1, KEY, (2, 0, 3), unclassified=1)
    published = [(data, everything.queue_of(value)) for one in VECTORS for data, _, value in one.frames()]
    flows = [(data, _queue(everything, data)) for data in random_frames(FLOWS, 5)]
    chance = random.Random(6)
    rules = [_rule(number, chance) for number in range(1, RULES + 1)]
    return [
        _round("frames of the published vectors", [everything], published),
        _round("random flows", [everything], flows),
        _round(f"flows of {RULES} rules by flower", [*rules, everything], list(_flows(rules, everything))),
    ]


def prepare_tunnels() -> list[dict[str, Any]]:
    """Returns the rounds of :func:`prove` for net/rss-tc-tunnel: those of net/rss-tc, then frames in tunnels,
    with all looked into and with some.
    """
    some = TunnelType.VXLAN | TunnelType.GRE_2890 | TunnelType.IPIP
    rounds = prepare()
    for what, tunnels, seed in (
        ("random flows inside tunnels", ALL_TUNNELS, 8),
        ("random flows, some tunnels looked into", some, 9),
    ):
        rule = TcRule(RULES + 1, KEY, (2, 0, 3), unclassified=1, tunnel_types=tunnels)
        rounds.append(
            _round(what, [rule], [(data, _queue(rule, data)) for data in random_tunnels(TUNNELS, seed)])
        )
    return rounds


def _rule(number: int, chance: random.Random) -> TcRule:
    ip = chance.choice((4, 6))
    types = chance.choice((ALL_TYPES, HashType.IPv4 | HashType.IPv6))
    queues = tuple(chance.randrange(QUEUES) for _ in range(chance.choice((1, 3, 5, 128, 512))))
    match = Match(ip=ip, protocol="tcp", destination_port=_FIRST_PORT + number)
    return TcRule(number, chance.randbytes(40), queues, types, 0, match)


def _flows(rules: Sequence[TcRule], rest: TcRule) -> Iterator[tuple[bytes, int]]:
    chance = random.Random(7)
    for rule in rules:
        for _ in range(10):
            for ip in (4, 6):
                segment = frames.tcp(chance.randrange(1024, 65536), _FIRST_PORT + rule.number)
                if ip == 4:
                    packet = frames.ipv4(f"10.0.{chance.randrange(256)}.1", "10.9.9.9", frames.TCP, segment)
                else:
                    packet = frames.ipv6(f"fd00::{chance.randrange(9999)}", "fd00::1", frames.TCP, segment)
                data = frames.ethernet(packet)
                yield data, _queue(rule if rule.match and rule.match.ip == ip else rest, data)


def _queue(rule: TcRule, data: bytes) -> int:
    kind, hashed = reference.select(reference.dissect(data, rule.tunnel_types), rule.types)
    if kind:
        return rule.queue_of(reference.toeplitz(rule.key, hashed))
    return rule.unclassified or 0


def _round(what: str, rules: Sequence[TcRule], judged: Sequence[tuple[bytes, int]]) -> dict[str, Any]:
    return {
        "what": what,
        "rules": [_packed(one) for one in rules],
        "frames": b"".join(data for data, _ in judged),
        "sizes": struct.pack(f"<{len(judged)}H", *(len(data) for data, _ in judged)),
        "queues": bytes(queue for _, queue in judged),
    }


def _packed(rule: TcRule) -> dict[str, Any]:
    return {
        "number": rule.number,
        "key": rule.key,
        "queues": bytes(rule.queues),  # QUEUES is far below 256
        "types": int(rule.types),
        "tunnel_types": int(rule.tunnel_types),
        "unclassified": rule.unclassified,
        "match": None if rule.match is None else rule.match.to_dict(),
    }


def _unpacked(one: Mapping[str, Any]) -> TcRule:
    match = None if one["match"] is None else Match(**one["match"])
    return TcRule(
        one["number"],
        one["key"],
        tuple(one["queues"]),
        HashType(one["types"]),
        one["unclassified"],
        match,
        TunnelType(one["tunnel_types"]),
    )


def prove(outcome: Steered, rounds: Sequence[Mapping[str, Any]]) -> Proved:
    """Steers frames by rules of tc, and counts those that reach the right queue.

    A TAP in a network namespace of its own is made and gone at the return. Rules that this kernel cannot
    match (no flower) are left out, and that is among the details.
    """
    if outcome.is_fallback:
        return _in_user_space(outcome.fallback(), rounds)
    try:
        tap = MultiqueueTap(QUEUES)
    except (KernelAccessError, PrivilegeError) as error:
        return Proved(cannot=error.message)
    with tap:
        namespace = fcntl.ioctl(tap.fds[0], _SIOCGSKNS)
        inside = any(packed["tunnel_types"] for one in rounds for packed in one["rules"])
        tunnels = ALL_TUNNELS if inside else TunnelType.NONE
        try:
            trial = _Trial(tap)
            with TcSteering(tap.name, outcome, namespace=namespace, supported_tunnel_types=tunnels) as tc:
                best = tc.qdisc
                for one in rounds:
                    trial.run(tc, one, one["what"])
                tc.detach()
            for kind in QDISCS:
                if kind != best:
                    trial.other(kind, outcome, namespace, rounds[0])
            return trial.proved(best)
        except KernelAccessError as error:
            return Proved(cannot=error.message)
        finally:
            os.close(namespace)


def _in_user_space(steering: Steering, rounds: Sequence[Mapping[str, Any]]) -> Proved:
    """The fallback hashes; which rule a frame belongs to is for the application to know."""
    counts = []
    for one in rounds:
        if len(one["rules"]) > 1:
            continue
        rule = _unpacked(one["rules"][0])
        steering.configure(RssConfig(rule.key, rule.types, tunnel_types=rule.tunnel_types))
        right = 0
        for data, queue in _frames_of(one):
            value = steering.classify(data).hash
            right += queue == (rule.unclassified if value is None else rule.queue_of(value))
        counts.append(Count(one["what"], right, len(one["queues"])))
    return Proved(tuple(counts))


def _frames_of(one: Mapping[str, Any]) -> Iterator[tuple[bytes, int]]:
    at = 0
    for (size,), queue in zip(struct.iter_unpack("<H", one["sizes"]), one["queues"], strict=True):
        yield one["frames"][at : at + size], queue
        at += size


class _Trial:
    def __init__(self, tap: MultiqueueTap) -> None:
        self._tap = tap
        self._counts: list[Count] = []
        self._wrong: list[str] = []
        self._queues = Counter[int]()
        self._left_out: list[str] = []

    def run(self, tc: TcSteering, one: Mapping[str, Any], what: str) -> None:
        for rule in tc.rules():
            tc.remove(rule.number)
        try:
            for packed in one["rules"]:
                tc.add(_unpacked(packed))
        except HoldfastError as error:
            if not any(packed["match"] for packed in one["rules"]):
                raise
            self._left_out.append(f"{what}: {error.message}")
            return
        right = 0
        for data, queue in _frames_of(one):
            got = self._tap.deliver(data)
            right += got == queue
            if got is not None:
                self._queues[got] += 1
            if got != queue and len(self._wrong) < _SHOWN:
                self._wrong.append(f"{what}: {data.hex()}: queue {got}, expected queue {queue}")
        self._counts.append(Count(what, right, len(one["queues"])))

    def other(self, kind: str, outcome: Steered, namespace: int, one: Mapping[str, Any]) -> None:
        """One round with a qdisc that is not the best; a kernel that has none of it is no failure."""
        try:
            with TcSteering(self._tap.name, outcome, qdisc=kind, namespace=namespace) as tc:
                self.run(tc, one, f"{one['what']} by {kind}")
                tc.detach()
        except KernelAccessError as error:
            self._left_out.append(f"{kind}: {error.message}")

    def proved(self, qdisc: str) -> Proved:
        queues = [self._queues[each] for each in range(QUEUES)]
        details = {"qdisc": qdisc, "queues": queues, "left_out": self._left_out}
        return Proved(tuple(self._counts), tuple(self._wrong), details=details)
