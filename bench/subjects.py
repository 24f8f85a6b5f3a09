# SPDX-License-Identifier: Apache-2.0
"""The subjects: each is something whose cost is measured once in every round."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import loadall
from bench.measure import Cost, Failed, cost_of, run

__all__ = ["Ground", "Subject", "subjects"]

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
SINGLE: Final = 10  # objects that get a process each, out of all
STARTS: Final = 10  # starts of the interpreter that make one measurement
CHECK_STATUS: Final = (0, 4, 8, 12)  # verdicts; anything else is an error


@dataclass(frozen=True, slots=True)
class Subject:
    """``measure`` gives the cost of one ``unit``; it raises :exc:`~bench.measure.Failed`."""

    name: str
    title: str
    unit: str
    measure: Callable[[], Cost]


@dataclass(slots=True)
class Ground:
    """What the subjects work on. ``room`` is a folder for caches and results; ``notes`` are for people."""

    objects: Sequence[Path]
    room: Path
    bpftool: str | None
    may_load: bool
    notes: dict[str, str] = field(default_factory=dict)

    def environment(self, cache: str = "cache") -> dict[str, str]:
        """This process's environment with caches of the bench's own.

        Python keeps compiled modules, as it does for an installed package, whatever is set here.
        """
        ours = {"XDG_CACHE_HOME": str(self.room / cache), "PYTHONPYCACHEPREFIX": str(self.room / "compiled")}
        return {**os.environ, **ours, "PYTHONDONTWRITEBYTECODE": ""}

    @property
    def paths(self) -> list[str]:
        return [str(path) for path in self.objects]

    @property
    def some(self) -> list[str]:
        """A few objects from all over the list."""
        count = min(SINGLE, len(self.objects))
        return [self.paths[number * len(self.objects) // count] for number in range(count)]


def subjects(ground: Ground) -> list[Subject]:
    """All subjects that this machine can measure; what it cannot is told in ``ground.notes``."""
    found = [
        Subject(
            "check", "holdfast check, all in one process", "object", lambda: _check(ground, ground.paths)
        ),
        Subject("check-warm", "the same inside Python, facts at hand", "object", _Warm(ground).measure),
        Subject("check-one", "holdfast check, a process for each", "object", lambda: _check_each(ground)),
        Subject("check-cold", "the same with an empty cache", "object", lambda: _check_cold(ground)),
        Subject("index", "index the BTF of vmlinux", "kernel", lambda: cost_of(_index)),
        Subject("index-cached", "take that index from the cache", "kernel", _Cached(ground).measure),
        Subject("python", "bare interpreter", "start", lambda: _starts(ground, "pass")),
        Subject(
            "import", "import holdfast.cli.main", "start", lambda: _starts(ground, "import holdfast.cli.main")
        ),
        Subject("version", "holdfast --version", "start", lambda: _version(ground)),
    ]
    if ground.bpftool is None:
        ground.notes["bpftool"] = "bpftool is not installed: nothing to compare `check` with"
        return found
    bpftool = _Bpftool(ground, ground.bpftool)
    found.append(Subject("min-core", "bpftool gen min_core_btf, a process for each", "object", bpftool.each))
    found.append(Subject("min-core-all", "the same, all in one process", "object", bpftool.together))
    if ground.may_load:
        found.append(Subject("loadall", "bpftool prog loadall, a process for each", "object", bpftool.load))
        found.append(Subject("loadall-loads", "the same, of what loads", "object", bpftool.load_good))
        found.append(Subject("check-loads", "holdfast check of those", "object", bpftool.check_good))
    else:
        ground.notes["loadall"] = "not root, or no unshare(1): nothing was loaded for real"
    return found


# -- holdfast ----------------------------------------------------------------------------------------------


def _holdfast(arguments: Sequence[str], environment: dict[str, str]) -> Cost:
    command = [str(Path(sys.executable).parent / "holdfast"), *arguments]
    status, cost = run(command, environment)
    if status not in CHECK_STATUS:
        raise Failed(f"holdfast {arguments[0]} ended with status {status}")
    return cost


def _check(ground: Ground, paths: Sequence[str]) -> Cost:
    return _holdfast(["check", "--format", "json", *paths], ground.environment()) / len(paths)


def _check_each(ground: Ground) -> Cost:
    costs = [_check(ground, [path]) for path in ground.some]
    return sum(costs, Cost(0, 0)) / len(costs)


def _check_cold(ground: Ground) -> Cost:
    shutil.rmtree(ground.room / "cold", ignore_errors=True)
    return _holdfast(["check", "--format", "json", ground.some[0]], ground.environment("cold"))


class _Warm:
    """Open and judge every object in this process, which has done all that before."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.predictor: object = None

    def measure(self) -> Cost:
        from holdfast.elf import open_object
        from holdfast.kernels import live
        from holdfast.kernels.cache import Cache
        from holdfast.predict import Predictor
        from holdfast.predict.wanted import wanted

        if self.predictor is None:
            asked = wanted(open_object(path) for path in self.ground.paths)
            self.predictor = Predictor(live.facts(asked, cache=Cache(self.ground.room / "warm")))
        predictor = self.predictor
        assert isinstance(predictor, Predictor)

        def judge() -> None:
            for path in self.ground.paths:
                predictor.check(open_object(path))

        return cost_of(judge) / len(self.ground.paths)


def _index() -> None:
    from holdfast.btf import Btf

    Btf.from_bytes(VMLINUX.read_bytes())


class _Cached:
    """Facts of the running kernel from a cache that has its index; nothing is probed."""

    def __init__(self, ground: Ground) -> None:
        self.folder = ground.room / "index"

    def measure(self) -> Cost:
        from holdfast.kernels import live
        from holdfast.kernels.cache import Cache

        live.facts(cache=Cache(self.folder))  # makes sure that the index is there
        return cost_of(lambda: live.facts(cache=Cache(self.folder)))


# -- start-up ----------------------------------------------------------------------------------------------


def _starts(ground: Ground, code: str) -> Cost:
    total = Cost(0, 0)
    for _ in range(STARTS):
        status, cost = run([sys.executable, "-c", code], ground.environment())
        if status:
            raise Failed(f"python -c {code!r} ended with status {status}")
        total += cost
    return total / STARTS


def _version(ground: Ground) -> Cost:
    costs = [_holdfast(["--version"], ground.environment()) for _ in range(STARTS)]
    return sum(costs, Cost(0, 0)) / len(costs)


# -- bpftool -----------------------------------------------------------------------------------------------


class _Bpftool:
    def __init__(self, ground: Ground, path: str) -> None:
        self.ground = ground
        self.path = path
        self.loads: list[str] | None = None
        self.accepted: list[str] | None = None  # by min_core_btf, which stops at the first that it refuses

    def min_core(self, paths: Sequence[str]) -> tuple[int, Cost]:
        command = [self.path, "gen", "min_core_btf", str(VMLINUX), str(self.ground.room / "min.btf"), *paths]
        return run(command)

    def each(self) -> Cost:
        results = [(path, *self.min_core([path])) for path in self.ground.paths]
        self.accepted = [path for path, status, _ in results if status == 0]
        refused = len(results) - len(self.accepted)
        if refused:
            note = f"min_core_btf refuses {refused} of {len(results)} objects, counted up to the refusal"
            self.ground.notes["min-core"] = note
        return sum((cost for _, _, cost in results), Cost(0, 0)) / len(results)

    def together(self) -> Cost:
        if self.accepted is None:
            self.accepted = [path for path in self.ground.paths if self.min_core([path])[0] == 0]
        status, cost = self.min_core(self.accepted)
        if status:
            raise Failed(f"bpftool gen min_core_btf ended with status {status}")
        return cost / len(self.accepted)

    def load(self) -> Cost:
        results = self._loadall(self.ground.paths)
        self.loads = [
            path for path, (status, _) in zip(self.ground.paths, results, strict=True) if status == 0
        ]
        refused = len(results) - len(self.loads)
        if refused:
            note = f"loadall fails for {refused} of {len(results)} objects, counted up to the failure"
            self.ground.notes["loadall"] = note
        return sum((cost for _, cost in results), Cost(0, 0)) / len(results)

    def good(self) -> list[str]:
        """The objects that load; raises Failed when none does."""
        if self.loads is None:
            self.load()
        if not self.loads:
            raise Failed("bpftool loads none of the objects")
        return self.loads

    def load_good(self) -> Cost:
        results = self._loadall(self.good())
        return sum((cost for _, cost in results), Cost(0, 0)) / len(results)

    def check_good(self) -> Cost:
        return _check(self.ground, self.good())

    def _loadall(self, paths: Sequence[str]) -> list[tuple[int, Cost]]:
        done = subprocess.run(
            loadall.command(self.path, paths),
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"bench.loadall: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        return [(status, Cost(cpu, wall)) for status, cpu, wall in json.loads(done.stdout)]
