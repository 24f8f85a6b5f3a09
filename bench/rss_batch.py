# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.rss_batch``: holdfast.rss.batch beside a scalar set-bit Toeplitz in C (bench/toeplitz.c).

CPU time for each tuple, the least of all rounds, on the same random tuples; the hashes are compared first.
Frames are parsed and put into headers by holdfast.rss.batch alone; the C program's time for their tuples
stands beside it, without any parsing. Exit status: 0 measured, 1 the two do not agree, or nothing to measure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial, reduce
from operator import xor
from pathlib import Path
from typing import Final

import numpy as np

from bench.rss_subjects import flows
from holdfast.rss.batch import Batch
from holdfast.rss.vectors import KEY

_ROOT: Final = Path(__file__).resolve().parent.parent
_COUNT: Final = 65536
_ROUNDS: Final = 9


def main() -> int:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("bench.rss_batch: there is no cc; install a C compiler", file=sys.stderr)
        return 1
    program = _ROOT / "build/bench/toeplitz"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", program, _ROOT / "bench/toeplitz.c"], check=True)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    batch, chance, scalar = Batch(KEY), np.random.default_rng(1), {}
    print(f"ns of CPU time each, least of {_ROUNDS} rounds over {_COUNT}")
    for name, size in (("ipv4", 12), ("ipv6", 36)):
        tuples = chance.integers(0, 256, (_COUNT, size), np.uint8)
        command = [str(program), KEY.hex(), str(size), str(_ROUNDS)]
        said = subprocess.run(command, input=tuples.tobytes(), capture_output=True, check=True)
        took, total = said.stdout.split()
        scalar[name] = float(took)
        if int(total) != reduce(xor, map(int, batch.hashes(tuples))):
            print(f"bench.rss_batch: {name}: the hashes of C and numpy differ", file=sys.stderr)
            return 1
        _say(f"{name} tuples", scalar[name], _least(partial(batch.hashes, tuples)))
    for name, each in flows().items():
        if name in scalar:
            frames = [each[number % len(each)].frame for number in range(_COUNT)]
            rows = np.frombuffer(b"".join(frame[:58].ljust(58) for frame in frames), np.uint8)
            sizes = np.array([len(frame) for frame in frames], np.intp)
            slots = rows.reshape(_COUNT, 58)
            _say(f"{name} frames", scalar[name], _least(partial(batch.headers_of_rows, slots, sizes)))
            _say(f"{name} as bytes", scalar[name], _least(partial(batch.headers, frames)))
    return 0


def _say(what: str, scalar: float, ours: float) -> None:
    print(f"{what:<14}  C {scalar:7.1f}  batch {ours:7.1f}  {scalar / ours:.1f} times as fast")


def _least(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        begin = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - begin)
    return min(times) / _COUNT


if __name__ == "__main__":
    sys.exit(main())
