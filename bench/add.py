# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.add PACKAGE...``: CPU time in which a kernel is added from its package, on one core.

Each is added to an empty catalogue by ``holdfast kernels add``, a process of its own; all of its user and
system time counts. Without a PACKAGE those of build/kernels are added. Where the built-in catalogue has the
same kernel, the two records are compared. Exit status: 0 measured, whatever came out; 1 a package cannot be
added, or a record is another than the built-in one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Final

from bench.measure import run
from holdfast.kernels.catalogue import Catalogue
from holdfast.kernels.record import KernelRecord

ROOT: Final = Path(__file__).resolve().parent.parent
_BAR: Final = 30  # seconds
_EMPTY: Final = 100_000  # bytes; a package with less has no kernel, it depends on those that have


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.add", description="What adding a kernel costs.")
    parser.add_argument("packages", type=Path, nargs="*", metavar="PACKAGE")
    options = parser.parse_args()
    packages = options.packages or _at_hand()
    if not packages:
        print("bench.add: no package in build/kernels; `make kernels` brings some")
        return 0
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children inherit it
    failed = False
    costs = []
    for package in packages:
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as room:
            try:
                seconds = _cost(package, Path(room))
            except ValueError as error:
                print(f"bench.add: {package}: {error}", file=sys.stderr)
                failed = True
                continue
            costs.append(seconds)
            row, others = _compared(Path(room))
            failed |= bool(others)
            print(f"{row:44} {seconds:6.1f} s  {_words(others)}", flush=True)
    if costs:
        print(f"adding a kernel: {max(costs):.1f} s of CPU time at most, on one core; {_BAR} s are allowed")
    return int(failed)


def _at_hand() -> list[Path]:
    """Packages with a kernel in them; the other parts of a build are found beside them."""
    folder = ROOT / "build/kernels"
    found = [path for kind in ("image", "binary") for path in sorted(folder.glob(f"linux-{kind}-*.deb"))]
    return [path for path in found if path.stat().st_size > _EMPTY]


def _cost(package: Path, room: Path) -> float:
    """CPU seconds. Raises :exc:`ValueError` where it was not added."""
    command = [sys.executable, "-m", "holdfast.cli.main", "kernels", "add", str(package)]
    status, cost = run(command, {**os.environ, "XDG_DATA_HOME": str(room)})
    if status:
        raise ValueError(f"`holdfast kernels add` ended with {status}")
    return cost.cpu / 1000


def _compared(room: Path) -> tuple[str, list[str] | None]:
    """The kernel's id, and what the built-in record has otherwise; None where there is none to compare."""
    added, builtin = Catalogue.open(room / "holdfast/kernels"), Catalogue.builtin()
    [row] = added.rows()
    if row.id not in builtin:
        return row.id, None
    one, other = added.record(row.id), builtin.record(row.id)
    # probes do not come with a package, nor does what is said of where it came from
    names = [field.name for field in fields(KernelRecord) if field.name not in ("probes", "package")]
    return row.id, [name for name in names if getattr(one, name) != getattr(other, name)]


def _words(others: list[str] | None) -> str:
    if others is None:
        return "not built in"
    return f"differs from the built-in record: {', '.join(others)}" if others else "as the built-in record"


if __name__ == "__main__":
    sys.exit(main())
