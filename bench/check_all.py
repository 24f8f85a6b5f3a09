# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.check_all``: verdicts per second, many objects on all kernels of the built-in catalogue.

What ``holdfast check --kernel all`` does is done here in one process on one core: open each object, judge its
programs on every kernel, forget the object. Exit status: 0 measured, whatever came out; 1 there is nothing to
measure.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.kernels import KernelFacts

__all__ = ["Measured", "different", "measure"]

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds: ``opening`` is part of ``cpu``."""

    objects: int
    kernels: int
    verdicts: int
    cpu: float
    wall: float
    opening: float

    def line(self) -> str:
        """The result in words."""
        return (
            f"{self.verdicts} verdicts of {self.objects} objects on {self.kernels} kernels: "
            f"{self.verdicts / self.cpu:.0f} a second of CPU time, {self.verdicts / self.wall:.0f} a second "
            f"({self.cpu:.1f} s CPU, {self.opening:.1f} s of it opening objects; {self.wall:.1f} s)"
        )


def different(folders: Iterable[Path], most: int) -> list[Path]:
    """At most so many objects below the folders, no two of the same content, from all over the list."""
    found: dict[bytes, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.o")):
            found.setdefault(sha256(path.read_bytes()).digest(), path)
    paths = list(found.values())
    count = min(most, len(paths))
    return [paths[number * len(paths) // count] for number in range(count)]


def measure(paths: Sequence[Path], kernels: Sequence[KernelFacts]) -> Measured:
    """Judge every program of every object on every kernel, once."""
    from holdfast.predict.memory import few_collections

    with few_collections():
        return _measure(paths, kernels)


def _measure(paths: Sequence[Path], kernels: Sequence[KernelFacts]) -> Measured:
    from holdfast.elf import open_object
    from holdfast.predict import Predictor
    from holdfast.predict.memory import Memory

    memory = Memory()
    cpu, wall, opening, verdicts = time.process_time(), time.perf_counter(), 0.0, 0
    predictors = [Predictor(facts, memory=memory) for facts in kernels]
    for number, path in enumerate(paths, 1):
        before = time.process_time()
        spec = open_object(path)
        opening += time.process_time() - before
        for predictor in predictors:
            verdicts += len(predictor.check(spec))
        memory.forget(spec.sha256)
        if sys.stderr.isatty():
            print(f"\r\033[Kobject {number} of {len(paths)}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Measured(len(paths), len(kernels), verdicts, cpu, wall, opening)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.check_all", description="Verdicts per second.")
    parser.add_argument("folders", nargs="*", type=Path, help="with objects (default: the corpus)")
    parser.add_argument("--objects", type=int, default=300, metavar="N", help="how many (default: 300)")
    options = parser.parse_args()
    if options.objects < 1:
        parser.error("--objects is 1 or more")
    from holdfast.kernels.cache import Cache
    from holdfast.kernels.catalogue import Catalogue

    folders = options.folders or [Path(os.environ.get("HOLDFAST_CORPUS", ROOT / "build/corpus"))]
    paths = different(folders, options.objects)
    catalogue = Catalogue.builtin()
    rows = catalogue.rows()
    if not paths or not rows:
        what = "the built-in catalogue is empty" if paths else "there are no BPF objects"
        print(f"bench: {what}; `make corpus` brings objects", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as room:
        cache = Cache(Path(room))
        for row in rows:  # what lookups need is kept in the cache from now on, as on any machine in use
            facts = catalogue.facts(row.id, cache=cache)
            facts.has_func("bpf_prog_put")
            facts.symbol("bpf_prog_put")
            _ = (len(facts.modules), len(facts.config or ()), len(facts.registrations or ()))
        measured = measure(paths, [catalogue.facts(row.id, cache=cache) for row in rows])
    print(f"{measured.line()}; load {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
