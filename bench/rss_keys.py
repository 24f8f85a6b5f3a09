# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.rss_keys``: tables of several widths when many guests' keys are live on one core.

And what making a table costs.

One program and one table for each guest, as on a real host; packets go round them, so each meets caches that
the others have used. Times are ns per packet of single runs of BPF_PROG_TEST_RUN, less an empty program's;
widths take turns. Exit status: 0 measured, 1 not.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from contextlib import ExitStack
from statistics import fmean, median

from bench.rss_subjects import CONFIG, flows, load_empty
from bench.rss_tables import TABLES, compile_table, open_table
from holdfast.errors import HoldfastError
from holdfast.rss import RssConfig
from holdfast.rss.toeplitz import KEY_BYTES, pack_rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.rss_keys", description="Tables when many keys are live.")
    parser.add_argument("--keys", type=int, default=64, metavar="N", help="guests (default: 64)")
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="how many (default: 200)")
    options = parser.parse_args()
    if options.keys < 1 or options.rounds < 1:
        parser.error("--keys and --rounds are 1 or more")
    try:
        times = _measure(options.keys, options.rounds)
    except HoldfastError as error:
        print(f"bench.rss_keys: {error.message}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    print(f"ns per packet, net, {options.keys} keys in turn: median of {options.rounds} rounds")
    for (bits, packet), net in times.items():
        print(f"{TABLES[bits]:<16}{packet:<6}{median(net):8.1f}")
    print(f"nibble table made by Python: {_making():.0f} us (median)")
    return 0


def _measure(keys: int, rounds: int) -> dict[tuple[str, str], list[float]]:
    chance = random.Random(1)
    ours = {packet: each for packet, each in flows().items() if packet in ("ipv4", "ipv6")}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with ExitStack() as stack:
        empty = load_empty(stack)
        guests = {}
        for bits in TABLES:
            path = compile_table([f"BITS={bits}", "FAST_ONLY"], f"{bits}_fast")
            guests[bits] = [open_table(stack, path, bits) for _ in range(keys)]
            for guest in guests[bits]:
                guest.configure(RssConfig(chance.randbytes(KEY_BYTES), CONFIG.types, CONFIG.table))
        times: dict[tuple[str, str], list[float]] = {(bits, packet): [] for packet in ours for bits in TABLES}
        for _ in range(rounds):
            for packet, each in ours.items():
                base = fmean(empty(each[n % len(each)].frame, 1).duration_ns for n in range(keys))
                for bits, those in guests.items():
                    took = fmean(
                        guest.program.test_run(chance.choice(each).frame, data_out_size=0).duration_ns
                        for guest in those
                    )
                    times[bits, packet].append(took - base)
    return times


def _making() -> float:
    took = []
    for _ in range(51):
        begin = time.process_time_ns()
        pack_rows(CONFIG.key)
        took.append((time.process_time_ns() - begin) / 1000)
    return median(took)


if __name__ == "__main__":
    sys.exit(main())
