# SPDX-License-Identifier: Apache-2.0
"""Load each object for real with ``bpftool prog loadall``, and print what each load cost as JSON.

Run as a process of its own inside a mount namespace of its own (:func:`command`): bpftool pins what it loads,
and libbpf pins maps declared LIBBPF_PIN_BY_NAME right below /sys/fs/bpf. Each object gets a fresh bpffs there
that nobody else sees, and that is gone with its pins afterwards, however this process ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from bench.measure import run

__all__ = ["command"]

_BPFFS: Final = "/sys/fs/bpf"


def command(bpftool: str, objects: Sequence[str]) -> list[str]:
    """The command that loads these objects; it prints a list of [exit status, CPU ms, wall ms]."""
    worker = [sys.executable, "-m", "bench.loadall", bpftool, *objects]
    return ["unshare", "--mount", "--propagation", "private", *worker]


def main(arguments: Sequence[str]) -> None:
    bpftool, *objects = arguments
    rows = []
    for path in objects:
        subprocess.run(["mount", "-t", "bpf", "bpf", _BPFFS], check=True)
        try:
            status, cost = run([bpftool, "prog", "loadall", path, f"{_BPFFS}/programs"])
        finally:
            subprocess.run(["umount", _BPFFS], check=True)
        rows.append((status, cost.cpu, cost.wall))
    print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
