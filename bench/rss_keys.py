# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.rss_keys``: masks and tables when many guests' keys are live on one core.

And what making a key's masks costs.

One program and one key for each guest, as on a real host; packets of different flows go round them, so each
meets caches that the others have used. With one key the flows change all the same. Times are ns per packet of
single runs of BPF_PROG_TEST_RUN, less an empty program's; kinds take turns. Exit status: 0 measured, 1 not.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from statistics import fmean, median
from typing import Final

from bench.rss_subjects import CONFIG, Flow, flows, load_empty
from bench.rss_tables import TABLES, compile_table, open_table
from holdfast import load
from holdfast.bundle import Bundle
from holdfast.errors import HoldfastError, LoadError
from holdfast.rss import KernelSteering, RssConfig
from holdfast.rss.parity import pack_masks
from holdfast.rss.shipped import bundle_path
from holdfast.rss.toeplitz import KEY_BYTES
from holdfast.sys import TestRun

Run = Callable[[bytes], TestRun]
_ROUNDS: Final = 200


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench.rss_keys", description="Masks and tables when many keys are live."
    )
    parser.add_argument("--keys", type=int, default=64, metavar="N", help="guests (default: 64)")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, metavar="N", help="how many (default: 200)")
    options = parser.parse_args()
    if options.keys < 1 or options.rounds < 1:
        parser.error("--keys and --rounds are 1 or more")
    try:
        times = _measure(options.keys, options.rounds)
    except HoldfastError as error:
        print(f"bench.rss_keys: {error.message}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    print(f"ns per packet, net, each a call by itself: median of {options.rounds} rounds")
    print(f"{'':<30}{'1 key':>10}{f'{options.keys} keys':>10}")
    for (kind, packet), (alone, many) in times.items():
        print(f"{kind:<24}{packet:<6}{median(alone):10.1f}{median(many):10.1f}")
    for what, work in _rebuilt():
        took = [_microseconds(work) for _ in range(201)]
        print(f"{what}: {median(took):.0f} us of CPU (median), {min(took):.0f} at least")
    return 0


def _measure(keys: int, rounds: int) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    chance = random.Random(1)
    ours = {
        packet: [*each, *flows(2)[packet]] for packet, each in flows().items() if packet in ("ipv4", "ipv6")
    }
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with ExitStack() as stack:
        empty = load_empty(stack)
        guests = {
            kind: [make(replace(CONFIG, key=chance.randbytes(KEY_BYTES))) for _ in range(keys)]
            for kind, make in _kinds(stack).items()
        }
        times = {(kind, packet): (list[float](), list[float]()) for packet in ours for kind in guests}
        for _ in range(rounds):
            for packet, each in ours.items():
                base = fmean(empty(_any(chance, each), 1).duration_ns for _ in range(keys))
                for kind, those in guests.items():
                    for into, used in zip(times[kind, packet], (those[:1] * keys, those), strict=True):
                        for run in used:  # so that these have the caches, not the kind before
                            run(_any(chance, each))
                        took = fmean(run(_any(chance, each)).duration_ns for run in used)
                        into.append(took - base)
    return times


def _any(chance: random.Random, each: list[Flow]) -> bytes:
    return chance.choice(each).frame


def _kinds(stack: ExitStack) -> dict[str, Callable[[RssConfig], Run]]:
    """By name: what loads one more program, with a key of its own."""

    def variant(content: bytes, name: str) -> Callable[[RssConfig], Run]:
        def make(config: RssConfig) -> Run:
            loaded = stack.enter_context(load.open_object(content, name=name))
            program = loaded.program("steer")
            KernelSteering(loaded.map, program.fd).configure(config)
            return lambda frame: program.test_run(frame, data_out_size=0)

        return make

    def table(bits: str) -> Callable[[RssConfig], Run]:
        path = compile_table([f"BITS={bits}", "FAST_ONLY"], f"{bits}_fast")

        def make(config: RssConfig) -> Run:
            guest = open_table(stack, path, bits)
            guest.configure(config)
            return lambda frame: guest.program.test_run(frame, data_out_size=0)

        return make

    found: dict[str, Callable[[RssConfig], Run]] = {}
    for one in Bundle.open(bundle_path()).variants:
        try:
            with load.open_object(one.content, name=one.name):
                pass
        except LoadError:
            continue
        found[f"masks, {one.name}"] = variant(one.content, one.name)
    alone = {"1": "masks 0.4 KB"} | TABLES
    return found | {f"{title}, alone": table(bits) for bits, title in alone.items()}


def _rebuilt() -> list[tuple[str, Callable[[], object]]]:
    """What is done when a guest sets a key, by parts."""
    return [
        ("a key's masks", lambda: pack_masks(CONFIG.key)),
        ("a whole slot, with 128 queues", CONFIG.pack_slot),
    ]


def _microseconds(work: Callable[[], object]) -> float:
    begin = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begin) / 1000


if __name__ == "__main__":
    sys.exit(main())
