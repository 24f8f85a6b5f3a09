# SPDX-License-Identifier: Apache-2.0
"""What a command or a piece of work costs: CPU time and wall time, both in milliseconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Cost", "Failed", "Spread", "cost_of", "run"]


class Failed(Exception):
    """A command ended in a way that makes its cost worth nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds. ``cpu`` is user and system time, of the children that a command waited for as well."""

    cpu: float
    wall: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu + other.cpu, self.wall + other.wall)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall)

    def __truediv__(self, count: int) -> Cost:
        return Cost(self.cpu / count, self.wall / count)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of what several rounds gave."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[int, Cost]:
    """Run a command with its output thrown away; its exit status (negative: the signal) and its cost."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        streams = [(os.POSIX_SPAWN_DUP2, nowhere, number) for number in (0, 1, 2)]
        start = time.perf_counter()
        child = os.posix_spawnp(command[0], list(command), environment or os.environ, file_actions=streams)
        # getrusage(RUSAGE_CHILDREN) adds up all children; wait4() tells of this one.
        _, status, usage = os.wait4(child, 0)
        wall = time.perf_counter() - start
    finally:
        os.close(nowhere)
    return os.waitstatus_to_exitcode(status), Cost(1000 * (usage.ru_utime + usage.ru_stime), 1000 * wall)


def cost_of(work: Callable[[], object]) -> Cost:
    """What the work costs when it is done once in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall))
