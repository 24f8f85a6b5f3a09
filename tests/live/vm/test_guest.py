# SPDX-License-Identifier: Apache-2.0
"""Real kernels are booted, do jobs, break, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import bootkernels
from tests.clang import compile_c

from holdfast.errors import KernelFileError, UsageError
from holdfast.kernels.probe_plain import from_plain
from holdfast.terms import MapType
from holdfast.vm import BootKernel, Guest, GuestError, Job, boot, carry_out

pytestmark = [pytest.mark.live, pytest.mark.slow]

JOBS = "holdfast.vm.guest.jobs"
UNAME = Job("uname", f"{JOBS}:uname")
# the kernel's own way to crash it, with nothing but what Python has
PANIC = Job("panic", "shutil:copyfile", {"src": "/crash", "dst": "/proc/sysrq-trigger"}, timeout=60)
CRASH = {"/crash": b"c"}
PROGRAMS = """
extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
struct { __uint(type, 1); __type(key, int); __type(value, long); } sized_later SEC(".maps");
SEC("socket") int fits(void *ctx) {
    int key = 0; long *value = bpf_map_lookup_elem(&sized_later, &key);
    return value ? LINUX_KERNEL_VERSION + CONFIG_BPF_SYSCALL : 0;
}
SEC("socket") int wild(void *ctx) { return *(volatile int *)1024; }
"""
ABSENT = """
extern void bpf_no_such_kfunc(void) __ksym;
SEC("tc") int absent(void *ctx) { bpf_no_such_kfunc(); return 0; }
"""


@pytest.fixture(scope="module")
def kernel() -> BootKernel:
    return bootkernels.kernels()[0]


@pytest.fixture(scope="module")
def guest(kernel: BootKernel) -> Iterator[Guest]:
    with Guest.boot(kernel, modules=["dummy", "no-such-module"]) as booted:
        yield booted


def test_every_kernel_boots_and_answers() -> None:
    for kernel in bootkernels.kernels():
        started = time.monotonic()
        with Guest.boot(kernel) as guest:
            (result,) = guest.run([UNAME])
        took = time.monotonic() - started
        assert result.ok and result.value["release"] == kernel.release == guest.release
        assert all(code == 0 for code in guest.modules.values()), guest.modules
        at = {name: round(when, 2) for name, when in guest.milestones.items()}
        print(f"{kernel.release} under {guest.accelerator}: whole turn {took:.1f} s, guest's clock {at}")


def test_modules_are_in(guest: Guest) -> None:
    assert guest.modules["dummy"] == 0
    assert guest.absent == ("no_such_module",)
    (result,) = guest.run([Job("list", "os:listdir", {"path": "/sys/module"})])
    assert "dummy" in result.value


def test_programs_are_loaded_one_by_one(
    guest: Guest, need_tool: Callable[[str], str], tmp_path: Path
) -> None:
    clang = need_tool("clang")
    content = compile_c(clang, PROGRAMS, tmp_path, "programs").read_bytes()
    names = ["fits", "wild", "unheard_of"]
    arguments = {"name": "programs", "content": content, "programs": names}
    (result,) = guest.run([Job("load", f"{JOBS}:load_programs", arguments)])
    assert result.ok, result.said
    fits, wild, unheard = result.parts
    assert [row["program"] for row in result.parts] == names
    assert fits["loaded"] is True and fits["stage"] == "loaded" and fits["processed_insns"] > 3, fits
    assert wild["loaded"] is False and wild["stage"] == "load" and wild["errno"] == 13, wild
    assert "R1 invalid mem access" in " ".join(wild["verifier"])
    assert unheard["loaded"] is None and unheard["stage"] == "choose"
    absent = compile_c(clang, ABSENT, tmp_path, "absent").read_bytes()
    many = [arguments | {"programs": ["fits"]}, {"name": "b", "content": absent, "programs": ["absent"]}]
    (result,) = guest.run([Job("load", f"{JOBS}:load_objects", {"objects": many})])
    rows = [(row["object"], row["program"], row["loaded"]) for row in result.parts]
    assert rows == [(0, "fits", True), (1, "absent", False)]
    assert "bpf_no_such_kfunc" in " ".join(result.parts[1]["libbpf"])


def test_the_survey_runs_there(guest: Guest) -> None:
    (result,) = guest.run([Job("probe", f"{JOBS}:probe", {"only": ["map-types"]})])
    assert result.ok, result.said
    assert result.parts[-1]["part"] == "map-types"
    assert from_plain(result.value).map_types[MapType.HASH] is True


def test_a_job_that_fails_or_hangs_costs_no_guest(guest: Guest) -> None:
    failed, hung, after = guest.run([Job("f", "os:no_such"), Job("h", "signal:pause", timeout=1.0), UNAME])
    assert failed.problem.startswith("AttributeError") and "Traceback" in failed.said
    assert hung.problem == "it gave no news for 1 s" and not hung.lost
    assert after.ok


def test_large_values_both_ways(guest: Guest) -> None:
    content = os.urandom(8 << 20)
    (result,) = guest.run([Job("copy", "copy:copy", {"x": content})])
    assert result.value == content


def test_a_guest_that_panics_is_told_and_another_goes_on(kernel: BootKernel) -> None:
    with Guest.boot(kernel, files=CRASH) as guest:
        jobs = guest.run([UNAME, PANIC, UNAME])
        assert next(jobs).ok
        with pytest.raises(GuestError, match=r"is lost during panic: it died; .* Kernel panic") as caught:
            next(jobs)
        assert any("sysrq" in line.lower() for line in caught.value.console)
        assert caught.value.job == "panic"
        with pytest.raises(UsageError, match="is closed"):
            next(guest.run([UNAME]))
    results = carry_out(lambda: Guest.boot(kernel, files=CRASH), [PANIC, UNAME])
    assert [(result.job.name, result.ok, result.lost) for result in results] == [
        ("panic", False, True),
        ("uname", True, False),
    ]


def test_a_kernel_that_does_not_boot(kernel: BootKernel) -> None:
    with pytest.raises(GuestError, match="it failed to boot"):
        Guest.boot(kernel, timeout=0.5)
    with pytest.raises(GuestError, match="is lost: it died"):
        Guest.boot(BootKernel("nonsense", None, b"no kernel at all" * 100), timeout=30)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_stays(kernel: BootKernel, tmp_path: Path, number: signal.Signals) -> None:
    image = kernel.boot_file()
    path = tmp_path / "kernel"
    path.write_bytes(image if isinstance(image, bytes) else image.read_bytes())
    code = (
        "import time, holdfast.vm.kernel as kernel; from pathlib import Path; from holdfast.vm import Guest\n"
        f"booted = kernel.BootKernel('test', None, Path({str(path)!r}))\n"
        "start = Guest._start\n"
        "def told(self, *rest):\n"
        "    start(self, *rest); print(self._process.pid, flush=True)\n"
        "Guest._start = told\n"
        "with Guest.boot(booted): time.sleep(1000)\n"
    )
    before = set(Path("/tmp").iterdir())
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as host:
        assert host.stdout is not None
        child = int(host.stdout.readline())
        deadline = time.monotonic() + 20
        while "qemu" not in Path(f"/proc/{child}/comm").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        host.send_signal(number)
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not [one for one in set(Path("/tmp").iterdir()) - before if "holdfast" in one.name]


# A real-time loop on the only processor: nothing else runs any more, the guest's own watch neither.
SEIZE = """
import os
open("/proc/sys/kernel/sched_rt_runtime_us", "w").write("-1")
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
while True:
    pass
"""


def test_a_guest_that_is_killed_or_hangs_costs_one_job(
    kernel: BootKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "_GRACE", 3.0)
    hang = Job("seize", "timeit:timeit", {"stmt": SEIZE, "number": 1}, timeout=3.0)
    pids: list[int] = []

    def booted() -> Guest:
        guest = Guest.boot(kernel)
        assert guest._process is not None
        pids.append(guest._process.pid)
        if len(pids) == 1:
            os.kill(pids[0], signal.SIGKILL)
        return guest

    results = list(carry_out(booted, [UNAME, hang, UNAME]))
    assert [(one.ok, one.lost) for one in results] == [(False, True), (False, True), (True, False)]
    assert "is lost during uname: it died" in results[0].problem
    assert "is lost during seize: it failed to answer within 3 s" in results[1].problem
    assert len(pids) == 3 and not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_kernel_whose_port_is_nowhere(kernel: BootKernel) -> None:
    """The oldest kernels have the port's drivers as modules: without those nothing is booted in vain."""
    with pytest.raises(KernelFileError) as caught:
        Guest.boot(replace(kernel, modules=()))
    assert "virtio_console" in caught.value.message and "modules" in str(caught.value.hint)
    # nothing tells before: the guest does
    with pytest.raises(GuestError, match="there is no virtio port"):
        Guest.boot(replace(kernel, modules=(), config=None))
