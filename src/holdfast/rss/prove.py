# SPDX-License-Identifier: Apache-2.0
"""The proofs of bundles that steer: frames through a TAP, or through the fallback.

The expected queue of a published vector follows from its published hash, that of a random flow from
:mod:`holdfast.rss.reference`. A round under another key, other types and another table shows that settings
are honoured and not built in.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from holdfast.bundle.proof import Count, Proved
from holdfast.errors import KernelAccessError, PrivilegeError
from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.demo import Frame
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.qemu_maps import TABLE_LEN, QemuSteering
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashType, TunnelType
from holdfast.rss.traffic import random_frames
from holdfast.rss.tunnel_traffic import random_tunnels
from holdfast.rss.vectors import KEY, VECTORS

__all__ = ["Steered", "prepare", "prepare_qemu", "prepare_tunnels", "prove", "prove_qemu"]

QUEUES: Final = 4
FLOWS: Final = (4000, 1000)
"""Random flows before and after the settings change."""
TUNNELS: Final = 2000
"""Random flows inside tunnels."""
_BATCH: Final = 32  # frames on their way at once; a queue of a TAP holds 500 (TUN_READQ_SIZE)
_PATIENCE: Final = 2.0  # seconds for a batch to arrive
_SHOWN: Final = 5


class Steered(Protocol):
    """What a proof needs of an outcome; :class:`holdfast.load.Outcome` has it."""

    @property
    def is_fallback(self) -> bool:
        """Whether no variant runs."""

    @property
    def fallback(self) -> Any:
        """What makes a :class:`~holdfast.rss.fallback.Steering`, where no variant runs."""

    def program(self, name: str, /) -> Any:
        """Returns a loaded program, which has ``fd``."""

    def map(self, name: str, /) -> Any:
        """Returns a map, which has ``update(key, value)``."""


_Deliver = Callable[[Sequence[bytes]], list[int | None]]


def prepare() -> list[dict[str, Any]]:
    """Returns the rounds of :func:`prove` for net/rss: settings, and frames with the queue that each must
    reach.

    That is the slow part (the reference takes a hash bit by bit), so it is not done in a booted kernel.
    """
    return _rounds(512)


def prepare_qemu() -> list[dict[str, Any]]:
    """Returns the rounds of :func:`prove_qemu`, with tables that QEMU's map has room for."""
    return _rounds(TABLE_LEN)


def prepare_tunnels() -> list[dict[str, Any]]:
    """Returns the rounds of :func:`prove` for net/rss-tunnel: all tunnels looked into, then some alone."""
    first = RssConfig(KEY, table=_table(512, 30), unclassified=2, tunnel_types=ALL_TUNNELS)
    some = TunnelType.VXLAN | TunnelType.GRE_2890 | TunnelType.IPIP
    second = replace(first, key=random.Random(31).randbytes(40), tunnel_types=some)
    return [
        *_rounds(512),
        _round("random flows inside tunnels", first, _judged(first, random_tunnels(TUNNELS, 3))),
        _round("random flows, some tunnels looked into", second, _judged(second, random_tunnels(TUNNELS, 4))),
    ]


def _rounds(length: int) -> list[dict[str, Any]]:
    first = RssConfig.spread(KEY, QUEUES, unclassified=QUEUES - 1)
    types = ALL_TYPES & ~(HashType.TCPv4 | HashType.UDP_EX)
    second = RssConfig(random.Random(20).randbytes(40), types, _table(length, 21), unclassified=1)
    published = [
        Frame(data, kind, first.queue_of(value)) for one in VECTORS for data, kind, value in one.frames()
    ]
    return [
        _round("frames of the published vectors", first, published),
        _round("random flows", first, _judged(first, random_frames(FLOWS[0], 1))),
        _round(
            "random flows after a change of key, types and table",
            second,
            _judged(second, random_frames(FLOWS[1], 2)),
        ),
    ]


def _table(length: int, seed: int) -> tuple[int, ...]:
    chance = random.Random(seed)
    return tuple(chance.randrange(QUEUES) for _ in range(length))


def _judged(config: RssConfig, frames: Iterable[bytes]) -> list[Frame]:
    found = []
    for data in frames:
        kind, hashed = reference.select(reference.dissect(data, config.tunnel_types), config.types)
        queue = config.queue_of(reference.toeplitz(config.key, hashed)) if kind else config.unclassified
        found.append(Frame(data, kind, queue))
    return found


def _round(what: str, config: RssConfig, frames: Sequence[Frame]) -> dict[str, Any]:
    return {
        "what": what,
        "key": config.key,
        "types": int(config.types),
        "tunnels": int(config.tunnel_types),
        "table": bytes(config.table),  # QUEUES is far below 256
        "unclassified": config.unclassified,
        "frames": b"".join(one.data for one in frames),
        "sizes": struct.pack(f"<{len(frames)}H", *(len(one.data) for one in frames)),
        "kinds": struct.pack(f"<{len(frames)}H", *(int(one.type) for one in frames)),
        "queues": bytes(one.queue for one in frames),
    }


def _frames_of(one: Mapping[str, Any]) -> Iterator[Frame]:
    at = 0
    sizes, kinds = struct.iter_unpack("<H", one["sizes"]), struct.iter_unpack("<H", one["kinds"])
    for (size,), (kind,), queue in zip(sizes, kinds, one["queues"], strict=True):
        yield Frame(one["frames"][at : at + size], HashType(kind), queue)
        at += size


def prove(outcome: Steered, rounds: Sequence[Mapping[str, Any]]) -> Proved:
    """Steers frames with what runs, and counts those that reach the right queue; ``rounds`` as
    :func:`prepare` or :func:`prepare_tunnels` return them.

    A TAP in a network namespace of its own is made and gone at the return; the fallback needs none. Programs
    and maps stay the caller's. Where no TAP can be had, that is what the result says.
    """
    if outcome.is_fallback:
        steering = outcome.fallback()
        return _run(rounds, steering.configure, lambda batch: [steering.classify(one).queue for one in batch])
    tunnels = TunnelType(max(one["tunnels"] for one in rounds))
    kernel = KernelSteering(outcome.map, outcome.program("steer").fd, supported_tunnel_types=tunnels)
    return _on_a_tap(kernel, rounds)


def prove_qemu(outcome: Steered, rounds: Sequence[Mapping[str, Any]]) -> Proved:
    """As :func:`prove`, of net/rss-qemu: settings are written into the maps as QEMU does it."""
    if outcome.is_fallback:
        return Proved(cannot="without a program QEMU hashes by itself, and nothing of this is here")
    return _on_a_tap(QemuSteering(outcome.map, outcome.program("steer").fd), rounds)


def _on_a_tap(steering: KernelSteering | QemuSteering, rounds: Sequence[Mapping[str, Any]]) -> Proved:
    try:
        tap = MultiqueueTap(QUEUES)
    except (KernelAccessError, PrivilegeError) as error:
        return Proved(cannot=error.message)
    with tap:
        tap.set_steering(steering.program_fd)
        return _run(rounds, steering.configure, lambda batch: _through(tap, batch))


def _run(
    rounds: Sequence[Mapping[str, Any]], configure: Callable[[RssConfig], object], deliver: _Deliver
) -> Proved:
    counts, wrong = list[Count](), list[str]()
    queues, types = [0] * QUEUES, Counter[str]()
    lost = 0
    for one in rounds:
        configure(_config(one))
        frames = list(_frames_of(one))
        right = 0
        for first in range(0, len(frames), _BATCH):
            batch = frames[first : first + _BATCH]
            for frame, queue in zip(batch, deliver([each.data for each in batch]), strict=True):
                types[frame.type.name or "NONE"] += 1
                right += queue == frame.queue
                if queue is None:
                    lost += 1
                else:
                    queues[queue] += 1
                if queue != frame.queue and len(wrong) < _SHOWN:
                    where = "lost" if queue is None else f"queue {queue}"
                    wrong.append(f"{frame.data.hex()}: {where}, expected queue {frame.queue}")
        counts.append(Count(one["what"], right, len(frames)))
    details = {"queues": queues, "types": dict(sorted(types.items())), "lost": lost}
    return Proved(tuple(counts), tuple(wrong), details=details)


def _config(one: Mapping[str, Any]) -> RssConfig:
    types, tunnels = HashType(one["types"]), TunnelType(one["tunnels"])
    return RssConfig(one["key"], types, tuple(one["table"]), one["unclassified"], tunnels)


def _through(tap: MultiqueueTap, batch: Sequence[bytes]) -> list[int | None]:
    """The queue where each frame arrived, None where it did not; frames of a batch differ from each other."""
    for one in batch:
        tap.send(one)
    found: dict[bytes, int] = {}
    wanted = set(batch)
    while not wanted <= found.keys() and (got := tap.receive(_PATIENCE)):
        found |= {data: queue for queue, data in got if data in wanted}
    return [found.get(one) for one in batch]
