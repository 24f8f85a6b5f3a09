# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.turn``: one kernel and one small object, from the command to the verdict, phase by phase.

Does what ``holdfast verify OBJECT --kernel PACKAGE --jobs 1 --afresh`` does, three times with a cache of its
own: the first unpacks the kernel, builds the guest's root in another process meanwhile, and asks the kernel
what it takes; the others find all that. The guest's CPU time is that of its qemu and of that process. Exit
status: 0 measured, whatever came out; 1 there is nothing to measure.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
AIM: Final = 15.0  # seconds of wall time for a turn on a machine that has nothing else to do
# what is timed, in the order in which it happens: phase, module, name in it
_PHASES: Final = (
    ("kernels and facts", "holdfast.cli.verify", "_grounds"),
    ("predict", "holdfast.cli.verify", "_predict"),
    ("unpack the kernel", "holdfast.truth.run", "boot_kernel"),
    ("the guest's root", "holdfast.vm.boot", "build"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.turn", description="One turn of verify, phase by phase.")
    parser.add_argument("--kernel", type=Path, metavar="PACKAGE", help="default: 6.12 of build/kernels")
    parser.add_argument("--object", type=Path, metavar="FILE", help="default: that of bundles/net/rss")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    found = sorted((ROOT / "build/kernels").glob("linux-image-6.12*-cloud-amd64_*.deb"))
    kernel = options.kernel or (found[-1] if found else None)
    program = options.object or ROOT / "bundles/net/rss/helpers.bpf.o"
    if kernel is None or not program.exists():
        what = "`make kernels` brings a kernel" if kernel is None else "`make setup` compiles the object"
        print(f"bench.turn: there is nothing to measure; {what}", file=sys.stderr)
        return 1
    if options.inside:
        print(json.dumps(turn(kernel, program)))
        return 0
    print(f"{program.name} on {kernel.name}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as room:
        environment = os.environ | {"XDG_CACHE_HOME": f"{room}/cache", "XDG_DATA_HOME": f"{room}/data"}
        line = [sys.executable, "-m", "bench.turn", "--inside", "--kernel", str(kernel)]
        for number in range(options.turns):
            started = time.monotonic()
            done = subprocess.run(
                [*line, "--object", str(program)],
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                return 1
            _print(number, json.loads(done.stdout), time.monotonic() - started)
    return 0


def turn(kernel: Path, program: Path) -> dict[str, Any]:
    """Seconds of one turn in this process: ``phases`` by name (wall, CPU), all CPU here, and the guest's."""
    from importlib import import_module

    phases: dict[str, tuple[float, float]] = {}
    guest: dict[str, Any] = {}
    for phase, module, name in _PHASES:
        home = import_module(module)
        setattr(home, name, _timed(getattr(home, name), phase, phases))
    boot = import_module("holdfast.vm.boot").Guest
    boot._greet = _timed(boot._greet, "boot", phases)
    boot._run_one = _timed(boot._run_one, "load", phases)
    close = boot.close

    def closing(self: Any) -> None:
        guest["accelerator"], guest["clock"] = self.accelerator, dict(self.milestones)
        close(self)

    boot.close = closing
    from holdfast.cli.verify import command

    line = [str(program), "--kernel", str(kernel), "--jobs", "1", "--afresh", "--format", "json"]
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(StringIO()):
        command.main(line, standalone_mode=False)
    (result,) = json.loads(out.getvalue())["results"]
    if result["loaded"] is None:
        raise SystemExit(f"bench.turn: {result['trouble']}")
    of_qemu = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "phases": phases,
        "cpu": time.process_time(),
        "guest_cpu": of_qemu.ru_utime + of_qemu.ru_stime,
        "guest": guest,
    }


def _timed(
    work: Callable[..., Any], phase: str, phases: dict[str, tuple[float, float]]
) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        cpu, wall = time.process_time(), time.monotonic()
        try:
            return work(*arguments, **named)
        finally:
            before = phases.get(phase, (0.0, 0.0))
            phases[phase] = before[0] + time.monotonic() - wall, before[1] + time.process_time() - cpu

    return timed


def _print(number: int, told: dict[str, Any], wall: float) -> None:
    cpu = told["cpu"] + told["guest_cpu"]
    print(
        f"turn {number + 1}: {wall:.1f} s, {cpu:.1f} s CPU ({told['cpu']:.1f} here, {told['guest_cpu']:.1f} "
        f"in the guest, {told['guest']['accelerator']}); the aim is {AIM:.0f} s"
    )
    for phase, (seconds, own) in told["phases"].items():
        print(f"  {phase:<20} {seconds:6.2f} s, {own:5.2f} s CPU here")
    clock = ", ".join(f"{name} {at:.1f}" for name, at in told["guest"]["clock"].items())
    print(f"  the guest's clock    {clock}")


if __name__ == "__main__":
    sys.exit(main())
