# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.rss_tap``: packets per second through a real TAP, with and without steering.

A TAP with four queues in a network namespace of its own; bursts of 256 frames are sent to it by sendmmsg on a
packet socket past the queueing discipline, and read from its queues (bench/tap.c). Everything happens in one
process, so its CPU time is all that a frame costs: the choice of a queue, by the TAP itself (a flow table) or
by a steering program, the queue, and the reader. Programs take turns, forwards and backwards; each ratio is
of one round.

Exit status: 0 measured; 1 frames went missing or to queues that the settings do not name, or there is nothing
to measure.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from statistics import median
from typing import Final

from bench.rss_subjects import Steerer, load_qemu, load_variants
from holdfast import sys as kernel
from holdfast.bundle import Bundle
from holdfast.errors import HoldfastError
from holdfast.rss import ALL_TUNNELS, RssConfig, Steering, frames
from holdfast.rss.report_prove import open_sender
from holdfast.rss.shipped import bundle_path
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.vectors import KEY

_ROOT: Final = Path(__file__).resolve().parent.parent
_QUEUES: Final = 4
_BURST: Final = 256  # a queue holds 500, so none overflows if all go to one
_BURSTS: Final = 400
_ROUNDS: Final = 11
_CONFIG: Final = RssConfig.spread(KEY, _QUEUES)
_NOTHING: Final = "no steering"


@dataclass(frozen=True, slots=True)
class Turn:
    """One program in one round: ns of CPU time for each frame, and frames by queue."""

    send: float
    read: float
    queues: tuple[int, ...]


def main() -> int:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("bench.rss_tap: there is no cc; install a C compiler", file=sys.stderr)
        return 1
    program = _ROOT / "build/bench/tap"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", program, _ROOT / "bench/tap.c"], check=True)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children inherit it
    notes: list[str] = []
    try:
        with ExitStack() as stack:
            steerers = _steerers(stack, notes)
            tap = stack.enter_context(MultiqueueTap(_QUEUES))
            sender = stack.enter_context(open_sender(tap, bypass=True))
            fds = [sender.fileno(), *tap.fds]
            right = True
            for what, burst in _flows().items():
                right &= _compare(program, tap, fds, steerers, what, burst)
    except HoldfastError as error:
        print(f"bench.rss_tap: {error.message}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    for line in notes:
        print(line)
    return int(not right)


def _steerers(stack: ExitStack, notes: list[str]) -> Mapping[str, Steerer]:
    """The best variant of each bundle, and QEMU's program."""
    found = load_variants(stack, Bundle.open(bundle_path()), [])[:1]
    found += load_variants(stack, Bundle.open(bundle_path("net/rss-tunnel")), [], ALL_TUNNELS)[:1]
    corpus = Path(os.environ.get("HOLDFAST_CORPUS", _ROOT / "build/corpus"))
    qemu = load_qemu(stack, corpus, notes)
    if qemu is not None:
        found.append(qemu)
    if not found:
        raise HoldfastError("there is no program to measure")
    for one in found:
        one.configure(_CONFIG)
    return {one.title: one for one in found}


def _flows() -> dict[str, list[bytes]]:
    chance = random.Random(4)
    four, six = [], []
    for _ in range(_BURST):
        segment = frames.tcp(chance.randrange(1024, 65536), 443)
        ends = [str(IPv4Address(chance.getrandbits(32))) for _ in range(2)]
        four.append(frames.ethernet(frames.ipv4(ends[0], ends[1], frames.TCP, segment)).ljust(60, b"\0"))
        ends = [str(IPv6Address(0x20010DB8 << 96 | chance.getrandbits(96))) for _ in range(2)]
        six.append(frames.ethernet(frames.ipv6(ends[0], ends[1], frames.TCP, segment)))
    return {"IPv4/TCP": four, "IPv6/TCP": six}


def _compare(
    program: Path,
    tap: MultiqueueTap,
    fds: Sequence[int],
    steerers: Mapping[str, Steerer],
    what: str,
    burst: Sequence[bytes],
) -> bool:
    given = b"".join(struct.pack("<H", len(frame)) + frame for frame in burst)
    steering = Steering(_CONFIG)
    counted = Counter(steering.classify(frame).queue for frame in burst)
    wanted = tuple(_BURSTS * counted[queue] for queue in range(_QUEUES))
    names = [_NOTHING, *steerers]
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    right = True
    for number in range(_ROUNDS + 1):
        for name in names if number % 2 else reversed(names):
            with ExitStack() as held:
                steerer = steerers.get(name)
                fd = None
                if steerer is not None:
                    owned = held.enter_context(kernel.fd_by_id("prog", steerer.info.id))
                    fd = owned.fileno()
                tap.set_steering(fd)
                turn = _turn(program, fds, given)
            if steerer is not None and turn.queues != wanted:
                print(f"{name}, {what}: by queue {turn.queues}, not {wanted}", file=sys.stderr)
                right = False
            if number:  # the first warms up
                turns[name].append(turn)
    tap.set_steering(None)
    print(f"{what}: {_BURSTS} bursts of {_BURST} frames a round, median of {_ROUNDS} rounds")
    print(f"{'':<20}{'send':>9}{'read':>9}{'a second':>14}{'of no steering':>18}")
    for name in names:
        whole = [turn.send + turn.read for turn in turns[name]]
        bare = [turn.send + turn.read for turn in turns[_NOTHING]]
        ratios = [without / each for without, each in zip(bare, whole, strict=True)]
        send, read = (median(getattr(turn, part) for turn in turns[name]) for part in ("send", "read"))
        rate = f"{1e9 / median(whole):,.0f}"
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:<20}{send:6.0f} ns{read:6.0f} ns{rate:>14}{ratio:>22}")
    return right


def _turn(program: Path, fds: Sequence[int], given: bytes) -> Turn:
    command = [str(program), str(_BURSTS), *map(str, fds)]
    done = subprocess.run(command, input=given, pass_fds=fds, capture_output=True, check=False)
    if done.returncode:
        raise HoldfastError(f"{program.name}: exit status {done.returncode}: the TAP took no more frames")
    send, read, *queues = map(int, done.stdout.split())
    count = _BURSTS * _BURST
    if sum(queues) != count:
        raise HoldfastError(f"{count - sum(queues)} of {count} frames went missing")
    return Turn(send / count, read / count, tuple(queues))


if __name__ == "__main__":
    sys.exit(main())
