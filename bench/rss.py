# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.rss``: what steering one packet costs, next to QEMU's own program and DPDK's.

All programs steer the same packets in one run on one kernel, by BPF_PROG_TEST_RUN. They take turns, forwards
and backwards, so that whatever else the machine does meets all of them. QEMU's object is taken from
``HOLDFAST_CORPUS``, else from build/corpus. Exit status: 0 measured, and every variant steers right; 1 a
variant gives a wrong queue, or nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Final

from bench import rss_dpdk
from bench.rss_results import Results, Size, document, lines
from bench.rss_subjects import (
    PACKETS,
    QEMU,
    Flow,
    Steerer,
    count_wrong,
    flows,
    load_empty,
    load_qemu,
    load_tables,
    load_variants,
)
from holdfast.bundle import Bundle
from holdfast.errors import HoldfastError
from holdfast.rss import ALL_TUNNELS
from holdfast.rss.shipped import bundle_path
from holdfast.sys import TestRun

ROOT: Final = Path(__file__).resolve().parent.parent
Run = Callable[[bytes, int], TestRun]
Pair = tuple[str, str]  # program, packet


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.rss", description="What steering a packet costs.")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="how many (default: 15)")
    parser.add_argument(
        "--repeat", type=int, default=100_000, metavar="N", help="runs a cell and round (default: 100000)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args()
    if options.rounds < 1 or options.repeat < 1:
        parser.error("--rounds and --repeat are 1 or more")
    notes: list[str] = []
    try:
        results = _measure(options.rounds, options.repeat, notes)
    except HoldfastError as error:
        print(f"bench.rss: {error.message}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    setting = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "rounds": options.rounds,
        "runs a cell and round": options.repeat,
    }
    if options.json:
        print(json.dumps({**document(results), "setting": setting, "notes": notes}, indent=1))
    else:
        print("ns per packet, less an empty program's: median (least to most) of all rounds")
        print("; ".join(f"{name} {value}" for name, value in setting.items()))
        for line in lines(results):
            print(line)
        for line in ("", *notes) if notes else ():
            print(line)
    # QEMU's and the simple variants know no tunnels: wrong for VXLAN, and said so, not failures.
    plain = [pair for pair in results.wrong if pair[1] != "vxlan" or "tunnel" in pair[0]]
    return int(any(program != QEMU and not program.startswith(rss_dpdk.NAME) for program, _ in plain))


def _measure(rounds: int, repeat: int, notes: list[str]) -> Results:
    corpus = Path(os.environ.get("HOLDFAST_CORPUS", ROOT / "build/corpus"))
    with ExitStack() as stack:
        empty = load_empty(stack)
        steerers = load_variants(stack, Bundle.open(bundle_path()), notes)
        inner = Bundle.open(bundle_path().parent / "rss-tunnel")
        steerers += load_variants(stack, inner, notes, ALL_TUNNELS)
        steerers += load_tables(stack, notes)
        qemu = load_qemu(stack, corpus, notes)
        if qemu is not None:
            steerers.append(qemu)
        steerers += rss_dpdk.load_dpdk(stack, notes)
        if not steerers:
            raise HoldfastError("there is nothing to measure", hint="; ".join(notes))
        ours = flows()
        wrong: dict[Pair, tuple[int, int]] = {}
        for steerer in steerers:
            wrong |= {(steerer.name, packet): count for packet, count in count_wrong(steerer, ours).items()}
        base, times = _rounds(empty, steerers, ours, wrong, rounds, repeat)
        return Results(
            programs={steerer.name: steerer.title for steerer in steerers},
            packets=PACKETS,
            reference=None if qemu is None else qemu.name,
            sizes={
                steerer.name: Size(steerer.info.verified_insns or None, steerer.info.jited_size or None)
                for steerer in steerers
            },
            empty=base,
            times=times,
            wrong=wrong,
        )


def _rounds(
    empty: Run,
    steerers: list[Steerer],
    ours: Mapping[str, list[Flow]],
    wrong: Mapping[Pair, object],
    count: int,
    repeat: int,
) -> tuple[dict[str, list[float]], dict[Pair, list[float]]]:
    """Every program on every packet once in a round, the order turned each time; the first warms up."""
    runs: list[tuple[str, Run]] = [("", empty), *((steerer.name, steerer.run) for steerer in steerers)]
    base: dict[str, list[float]] = {packet: [] for packet in ours}
    times: dict[Pair, list[float]] = {(name, packet): [] for name, _ in runs[1:] for packet in ours}
    for number in range(count + 1):
        if sys.stderr.isatty():
            print(f"\r\033[Kround {number} of {count}", end="", file=sys.stderr, flush=True)
        for packet, each in ours.items():
            for name, run in runs if number % 2 else reversed(runs):
                if (name, packet) in wrong:
                    continue
                took = fmean(run(flow.frame, max(1, repeat // len(each))).duration_ns for flow in each)
                if number:
                    (times[name, packet] if name else base[packet]).append(took)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return base, times


if __name__ == "__main__":
    sys.exit(main())
