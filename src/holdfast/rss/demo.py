# SPDX-License-Identifier: Apache-2.0
"""The main job on real input: frames through a TAP, and for each one whether the queue is right.

The expected queue comes from :mod:`holdfast.rss.reference`, which knows nothing of the program that
steers, nor of the fallback.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.errors import KernelAccessError, PrivilegeError, UsageError
from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Steering
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import HashType
from holdfast.rss.traffic import random_frames
from holdfast.rss.vectors import KEY, VECTORS

__all__ = ["DemoResult", "Frame", "Ready", "Tally", "demo_frames", "run_demo"]

_SHOWN = 5  # wrong frames that are kept for the report


class Ready(Protocol):
    """What is needed of the outcome of running the bundle net/rss; ``holdfast.run()`` returns one."""

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


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame and what the reference says of it."""

    data: bytes
    type: HashType
    queue: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many frames there were, and how many went to the right queue."""

    frames: int
    right: int

    @property
    def all_right(self) -> bool:
        return self.right == self.frames


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it. ``queues`` counts arrivals per queue; ``why_user_space``: None if a TAP steered."""

    vectors: Tally
    flows: Tally
    queues: tuple[int, ...]
    types: dict[str, int]
    lost: int
    wrong: tuple[str, ...]
    why_user_space: str | None

    @property
    def all_right(self) -> bool:
        """Returns whether every single frame arrived in the queue that the reference computes."""
        return self.vectors.all_right and self.flows.all_right

    def to_dict(self) -> dict[str, object]:
        """Returns the result for JSON."""
        return {
            "steered_by": "kernel" if self.why_user_space is None else "user space",
            "why_user_space": self.why_user_space,
            "vectors": {"frames": self.vectors.frames, "right": self.vectors.right},
            "flows": {"frames": self.flows.frames, "right": self.flows.right},
            "queues": list(self.queues),
            "types": self.types,
            "lost": self.lost,
            "wrong": list(self.wrong),
            "all_right": self.all_right,
        }


def demo_frames(config: RssConfig, flows: int, seed: int) -> tuple[Iterator[Frame], Iterator[Frame]]:
    """Returns the published vectors as 24 frames, and ``flows`` random ones, judged as they are asked for."""
    published = (data for vector in VECTORS for data, _, _ in vector.frames())
    return _judged(config, published), _judged(config, random_frames(flows, seed))


def _judged(config: RssConfig, frames: Iterable[bytes]) -> Iterator[Frame]:
    for data in frames:
        kind, hashed = reference.select(reference.dissect(data), config.types)
        queue = config.unclassified
        if kind:
            queue = config.table[reference.toeplitz(config.key, hashed) % len(config.table)]
        yield Frame(data, kind, queue)


def run_demo(
    outcome: Ready,
    *,
    flows: int = 20_000,
    queues: int = 4,
    seed: int = 1,
    step: Callable[[], object] = lambda: None,
) -> DemoResult:
    """Sends frames through a TAP of ``queues`` queues that the bundle's program steers, and counts.

    Where ``outcome`` is the fallback, or no TAP can be made, the fallback decides frame by frame, without
    a TAP. ``step`` is called once for each of the ``24 + flows`` frames. The TAP, its namespace and
    the attachment are gone at the return; the program and the maps are the caller's.
    """
    if queues < 2:
        raise UsageError(f"steering between {queues} queues", hint="give at least two queues")
    config = RssConfig.spread(KEY, queues, unclassified=queues - 1)
    vectors, randoms = demo_frames(config, flows, seed)
    if outcome.is_fallback:
        why = "no variant of the bundle runs here"
        return _in_user_space(why, outcome.fallback(), config, vectors, randoms, step)
    try:
        tap = MultiqueueTap(queues)
    except (PrivilegeError, KernelAccessError) as error:
        return _in_user_space(error.message, Steering(), config, vectors, randoms, step)
    with tap:
        steering = KernelSteering(outcome.map, outcome.program("steer").fd)
        steering.configure(config)
        tap.set_steering(steering.program_fd)
        return _count(tap.deliver, queues, vectors, randoms, step, None)


def _in_user_space(
    why: str,
    steering: Steering,
    config: RssConfig,
    vectors: Iterator[Frame],
    randoms: Iterator[Frame],
    step: Callable[[], object],
) -> DemoResult:
    steering.configure(config)
    queues = max(config.table) + 1
    return _count(lambda data: steering.classify(data).queue, queues, vectors, randoms, step, why)


def _count(
    deliver: Callable[[bytes], int | None],
    queues: int,
    vectors: Iterator[Frame],
    randoms: Iterator[Frame],
    step: Callable[[], object],
    why_user_space: str | None,
) -> DemoResult:
    arrived, types, wrong, lost = [0] * queues, Counter[str](), list[str](), 0
    tallies = []
    for frames in (vectors, randoms):
        sent = matching = 0
        for frame in frames:
            queue = deliver(frame.data)
            sent += 1
            types[frame.type.name or "NONE"] += 1
            if queue is None:
                lost += 1
            else:
                arrived[queue] += 1
            if queue == frame.queue:
                matching += 1
            elif len(wrong) < _SHOWN:
                where = "lost" if queue is None else f"queue {queue}"
                wrong.append(f"{frame.data.hex()}: {where}, expected queue {frame.queue}")
            step()
        tallies.append(Tally(sent, matching))
    return DemoResult(
        vectors=tallies[0],
        flows=tallies[1],
        queues=tuple(arrived),
        types={kind.name or "NONE": types[kind.name or "NONE"] for kind in HashType.__members__.values()},
        lost=lost,
        wrong=tuple(wrong),
        why_user_space=why_user_space,
    )
