# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.rss_batch``: holdfast.rss.batch beside a scalar set-bit Toeplitz in C (bench/toeplitz.c).

CPU time for each tuple, or frame, the least of all rounds, on the same random ones; what comes out is
compared first. Tuples are hashed; frames are parsed, hashed and get their headers, by both. Exit status: 0
measured, 1 the two do not agree, or nothing to measure.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial, reduce
from ipaddress import IPv4Address, IPv6Address
from operator import xor
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from holdfast.rss import frames
from holdfast.rss.batch import HEADER_BYTES, Batch
from holdfast.rss.vectors import KEY

_ROOT: Final = Path(__file__).resolve().parent.parent
_COUNT: Final = 65536
_ROUNDS: Final = 9
_SLOT: Final = 64
_Made = TypeVar("_Made")


def main() -> int:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("bench.rss_batch: there is no cc; install a C compiler", file=sys.stderr)
        return 1
    program = _ROOT / "build/bench/toeplitz"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", program, _ROOT / "bench/toeplitz.c"], check=True)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    batch, chance, right = Batch(KEY), np.random.default_rng(1), True
    print(f"ns of CPU time each, least of {_ROUNDS} rounds over {_COUNT}")
    for name, size in (("ipv4", 12), ("ipv6", 36)):
        tuples = chance.integers(0, 256, (_COUNT, size), np.uint8)
        scalar, said = _scalar(program, size, tuples.tobytes())
        right &= _say(f"{name} tuples", scalar, partial(batch.hashes, tuples), said, _sum_of_hashes)
    for name, made in _made().items():
        scalar, said = _scalar(program, 0, b"".join(struct.pack("<H", len(one)) + one for one in made))
        rows = np.frombuffer(b"".join(one[:_SLOT].ljust(_SLOT) for one in made), np.uint8)
        sizes = np.array([len(one) for one in made], np.intp)
        slots = partial(batch.headers_of_rows, rows.reshape(_COUNT, _SLOT), sizes)
        right &= _say(f"{name} slots", scalar, slots, said, _sum_of_headers)
        right &= _say(f"{name} bytes", scalar, partial(batch.headers, made), said, _sum_of_headers)
    return int(not right)


def _made() -> dict[str, list[bytes]]:
    # TCP without data, and full packets of both versions in any order.
    chance = random.Random(2)
    four = [_frame(4, chance) for _ in range(_COUNT)]
    six = [_frame(6, chance) for _ in range(_COUNT)]
    full = bytes(1400)
    mixed = [chance.choice(pair) + full for pair in zip(four, six, strict=True)]
    return {"ipv4 frames,": four, "ipv6 frames,": six, "1.4 KB, both,": mixed}


def _frame(version: int, chance: random.Random) -> bytes:
    segment = frames.tcp(chance.randrange(65536), 443)
    if version == 4:
        ends = [str(IPv4Address(chance.getrandbits(32))) for _ in range(2)]
        return frames.ethernet(frames.ipv4(ends[0], ends[1], frames.TCP, segment))
    ends = [str(IPv6Address(chance.getrandbits(128))) for _ in range(2)]
    return frames.ethernet(frames.ipv6(ends[0], ends[1], frames.TCP, segment))


def _scalar(program: Path, size: int, data: bytes) -> tuple[float, int]:
    """Returns ns for each, and the sum that was printed."""
    command = [str(program), KEY.hex(), str(size), str(_ROUNDS)]
    took, total = subprocess.run(command, input=data, capture_output=True, check=True).stdout.split()
    return float(took), int(total)


def _sum_of_hashes(hashes: NDArray[np.uint32]) -> int:
    return int(np.bitwise_xor.reduce(hashes))


def _sum_of_headers(headers: bytes) -> int:
    found = (struct.unpack_from("<IH", headers, at + 12) for at in range(0, len(headers), HEADER_BYTES))
    return reduce(xor, (int(value) ^ int(report) << 24 for value, report in found))


def _say(
    what: str, scalar: float, work: Callable[[], _Made], said: int, total: Callable[[_Made], int]
) -> bool:
    if total(work()) != said:
        print(f"bench.rss_batch: {what}: what C and numpy make differs", file=sys.stderr)
        return False
    times = []
    for _ in range(_ROUNDS):
        begin = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - begin)
    ours = min(times) / _COUNT
    print(f"{what:<20}  C {scalar:7.1f}  batch {ours:7.1f}  {scalar / ours:.1f} times as fast")
    return True


if __name__ == "__main__":
    sys.exit(main())
