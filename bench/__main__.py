# SPDX-License-Identifier: Apache-2.0
"""``python -m bench``: measure in turns, print ratios.

Objects are those of ``HOLDFAST_CORPUS``, else of build/corpus. Exit status: 0 measured, whatever came out;
1 there is nothing to measure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.measure import Cost, Failed
from bench.results import document, lines
from bench.subjects import VMLINUX, Ground, Subject, subjects

ROOT: Final = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description="What Holdfast costs, as ratios.")
    parser.add_argument("--objects", type=int, default=100, metavar="N", help="how many (default: 100)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how many (default: 5)")
    parser.add_argument("--only", action="append", metavar="SUBJECT", help="measure this one; repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args()
    if options.objects < 1 or options.rounds < 1:
        parser.error("--objects and --rounds are 1 or more")

    folder = Path(os.environ.get("HOLDFAST_CORPUS", ROOT / "build/corpus"))
    every = sorted(folder.glob("*.o")) if folder.is_dir() else []
    if not every or not VMLINUX.exists():
        what = f"no BPF objects in {folder}" if not every else f"{VMLINUX} does not exist"
        print(f"bench: {what}; `make corpus` brings objects", file=sys.stderr)
        return 1
    count = min(options.objects, len(every))
    chosen = [every[number * len(every) // count] for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as room:
        may_load = os.geteuid() == 0 and shutil.which("unshare") is not None
        ground = Ground(chosen, Path(room), _bpftool(), may_load)
        measured = subjects(ground)
        if options.only:
            unknown = set(options.only) - {subject.name for subject in measured}
            if unknown:
                parser.error(f"--only: {sorted(unknown)[0]} is none of {[s.name for s in measured]}")
            measured = [subject for subject in measured if subject.name in options.only]
        costs = _rounds(measured, options.rounds)
    titles = {subject.name: subject.title for subject in measured}
    units = {subject.name: subject.unit for subject in measured}
    setting = _setting(ground, len(every), options.rounds)
    if options.json:
        print(
            json.dumps(
                {**document(titles, units, costs), "setting": setting, "notes": ground.notes}, indent=1
            )
        )
        return 0
    print("; ".join(f"{name} {value}" for name, value in setting.items()))
    for line in lines(titles, units, costs):
        print(line)
    for note in ("", *ground.notes.values()):
        print(note)
    return 0


def _rounds(measured: list[Subject], count: int) -> dict[str, list[Cost]]:
    """Every subject once in a round, in turns forwards and backwards; the first round warms up."""
    costs: dict[str, list[Cost]] = {subject.name: [] for subject in measured}
    for number in range(count + 1):
        for subject in measured if number % 2 else reversed(measured):
            if sys.stderr.isatty():
                print(
                    f"\r\033[Kround {number} of {count}: {subject.title}", end="", file=sys.stderr, flush=True
                )
            try:
                cost = subject.measure()
            except Failed as error:
                raise SystemExit(f"bench: {error}") from None
            if number:
                costs[subject.name].append(cost)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return costs


def _bpftool() -> str | None:
    # Ubuntu's bpftool is a wrapper that refuses every kernel but its own; the real ones do not.
    places = sorted(Path("/usr/lib").glob("linux-tools*/**/bpftool"), reverse=True)
    return next((str(place) for place in places), None) or shutil.which("bpftool")


def _setting(ground: Ground, all_objects: int, rounds: int) -> dict[str, str]:
    found = {
        "objects": f"{len(ground.objects)} of {all_objects}",
        "rounds": str(rounds),
        "kernel": platform.release(),
        "Python": platform.python_version(),
    }
    if ground.bpftool:
        version = subprocess.run(
            [ground.bpftool, "version"], capture_output=True, text=True, check=False
        ).stdout
        words = " ".join(version.split("features")[0].split())
        found["bpftool"] = words.removeprefix("bpftool ").replace("using ", "with ")
    return found


if __name__ == "__main__":
    sys.exit(main())
