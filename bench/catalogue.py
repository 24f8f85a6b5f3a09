# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.catalogue``: how large a catalogue is, and how soon its kernels can be asked.

For each kernel: what it brought onto the disk, the CPU time until its facts can be asked with nothing in the
cache (cold) and with all there (warm), of a new process each, imports left out; the same for its symbols.
With ``--add`` also the time to add it again, to an empty catalogue that grows.

``--ready`` measures one thing alone, of kernels whose id fits a glob: CPU time to open the catalogue and to
look up three things (a kfunc with its program types, a structure, a helper), in many new processes, all of
them warm, imports left out. Exit status: 0 measured, whatever came out; 1 there is nothing to measure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from statistics import median

from holdfast.kernels.catalogue import Catalogue

_ASK = """
import json, sys, time
from pathlib import Path
from holdfast.kernels.cache import Cache
from holdfast.kernels.catalogue import Catalogue
store = Catalogue.open(sys.argv[1])
import holdfast.kernels.catalogue.lazy
if sys.argv[4] == "cold":
    import numpy
else:  # what a process does once is left out
    store.facts(sys.argv[2], cache=Cache(Path(sys.argv[3]))).symbol("x")
    store = Catalogue.open(sys.argv[1])
start = time.process_time(), time.perf_counter()
facts = store.facts(sys.argv[2], cache=Cache(Path(sys.argv[3])))
assert facts.has_func("bpf_prog_put").value is not None
ready = time.process_time(), time.perf_counter()
facts.symbol("bpf_prog_put")
symbols = time.process_time(), time.perf_counter()
print(json.dumps([[1000 * (b - a) for a, b in zip(x, y)] for x, y in ((start, ready), (ready, symbols))]))
"""

_READY = """
import sys, time
from pathlib import Path
from holdfast.btf.types import Kind
from holdfast.kernels.cache import Cache
from holdfast.kernels.catalogue import Catalogue
from holdfast.terms import ProgramType
import holdfast.kernels.catalogue.answers, holdfast.kernels.catalogue.lazy, sqlite3, zstandard
folder, kernel, cache = sys.argv[1:4]
imported = set(sys.modules)
start = time.process_time()
facts = Catalogue.open(folder).facts(kernel, cache=Cache(Path(cache)))
facts.kfunc("bpf_dynptr_slice")
facts.kfunc_callable("bpf_dynptr_slice", ProgramType.XDP)
place = facts.find("task_struct", Kind.STRUCT)
assert place is not None and place.btf.type(place.type_id)
assert facts.helper_known(1).value
end = time.process_time()
assert len(sys.argv) > 4 or imported >= set(sys.modules), set(sys.modules) - imported
print(1000 * (end - start))
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.catalogue", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--catalogue", type=Path, help="this one instead of the built-in")
    parser.add_argument("--rounds", type=int, default=3, help="of which the middle counts (default: 3)")
    parser.add_argument("--add", action="store_true", help="measure adding, too")
    parser.add_argument(
        "--ready", metavar="GLOB", help="measure three look-ups of these kernels, nothing else"
    )
    options = parser.parse_args()
    store = Catalogue.open(options.catalogue) if options.catalogue else Catalogue.builtin()
    rows = store.rows()
    if not rows or store.folder is None:
        print("bench: the catalogue is empty", file=sys.stderr)
        return 1
    if options.ready:
        return _ready(
            store.folder, [row.id for row in rows if fnmatch(row.id, options.ready)], options.rounds
        )
    print(f"{'kernel':44} {'MB':>6} {'cold':>8} {'warm':>8} {'symbols':>8} {'warm':>8}  (ms of CPU)")
    warm = []
    for row in rows:
        figures = [_ask(store.folder, row.id) for _ in range(max(options.rounds, 1))]
        middle = [median(round_[i] for round_ in figures) for i in range(4)]
        warm.append(middle[1])
        print(f"{row.id:44} {row.size / 1e6:6.2f} " + " ".join(f"{figure:8.1f}" for figure in middle))
    total = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    print(f"{len(rows)} kernels, {total / 1e6:.2f} MB, {total / 1e6 / len(rows):.3f} MB each")
    print(f"warm facts: {median(warm):.1f} ms in the middle, {max(warm):.1f} ms at most")
    if options.add:
        _add(store)
    return 0


def _ready(folder: Path, kernels: list[str], rounds: int) -> int:
    """The middle of all rounds; one more that fills the cache does not count."""
    figures = []
    for kernel in kernels:
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as cache:
            command = [sys.executable, "-c", _READY, str(folder), kernel, cache]
            subprocess.check_output([*command, "cold"])
            times = [float(subprocess.check_output(command)) for _ in range(max(rounds, 1))]
        print(f"{kernel:44} {median(times):6.1f} ms in the middle, {min(times):.1f} to {max(times):.1f}")
        figures += times
    if not figures:
        print("bench: no kernel has such an id", file=sys.stderr)
        return 1
    print(
        f"ready for look-ups: {median(figures):.1f} ms of CPU time in the middle of {len(figures)} processes"
    )
    return 0


def _ask(folder: Path, kernel: str) -> list[float]:
    """CPU milliseconds: facts cold and warm, symbols cold and warm."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as cache:
        cold, warm = (
            json.loads(
                subprocess.check_output([sys.executable, "-c", _ASK, str(folder), kernel, cache, which])
            )
            for which in ("cold", "warm")
        )
    return [cold[0][0], warm[0][0], cold[1][0], warm[1][0]]


def _add(store: Catalogue) -> None:
    import time

    costs = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        growing = Catalogue.open(Path(folder) / "store")
        for row in store.rows():
            record = store.record(row.id)
            start = time.process_time()
            growing.add(record)
            costs.append(time.process_time() - start)
    print(f"adding: {median(costs):.1f} s of CPU in the middle, {max(costs):.1f} s at most")


if __name__ == "__main__":
    sys.exit(main())
