# SPDX-License-Identifier: Apache-2.0
"""The grounds that tests stand on: a missing one skips a test with the reason, or fails where CI=true."""

from __future__ import annotations

import functools
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from tests import corpus as corpus_objects
from tests import leftovers

SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # an ordinary user of Debian has no sbin in the path
CAP_BPF = 39
CAP_SYS_ADMIN = 21


def lacks(reason: str) -> NoReturn:
    """Skip the test that runs, or fail it where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true and {reason}")
    pytest.skip(reason)


@functools.cache
def why_not_live() -> str | None:
    """Return what keeps this process from loading BPF programs, None if nothing does."""
    if os.geteuid() != 0:
        return "live tests need root"
    status = Path("/proc/self/status").read_text()
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    if not effective & (1 << CAP_BPF | 1 << CAP_SYS_ADMIN):
        return "live tests need CAP_BPF"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "the running kernel shows no BTF in /sys/kernel/btf/vmlinux"
    return None


@pytest.fixture(scope="session")
def live() -> None:
    """The running kernel, ours to load into."""
    if reason := why_not_live():
        lacks(reason)


@pytest.fixture(scope="session")
def need_tool() -> Callable[[str], str]:
    """A function that returns the path of a foreign tool."""

    def find(name: str) -> str:
        # Ubuntu's bpftool is a wrapper that refuses every kernel but its own; the real ones do not.
        places = sorted(Path("/usr/lib").glob(f"linux-tools*/**/{name}"), reverse=True)
        path = next((str(place) for place in places), None) or shutil.which(name, path=SEARCH)
        if path is None:
            lacks(f"{name} is not installed")
        return path

    return find


@pytest.fixture(scope="session")
def corpus() -> list[Path]:
    """Real BPF objects not written here, sorted by name."""
    return list(corpus_objects.objects())


@pytest.fixture(autouse=True)
def _ground(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a test that is marked live its ground, and fail it if it leaves a descriptor open."""
    if request.node.get_closest_marker("live") is None:
        yield
        return
    request.getfixturevalue("live")
    # Fixtures that outlive the test may open files of their own while it is set up; those are not its leak.
    for name in request.fixturenames:
        if name not in ("request", "_ground"):
            request.getfixturevalue(name)
    before = leftovers.open_descriptors()
    yield
    left = leftovers.open_descriptors() - before
    if left:  # facts of kernels may sit in a ring; what a collection frees is not lost
        gc.collect()
        left = leftovers.open_descriptors() - before
    assert not left, f"the test left descriptors open: {', '.join(sorted(left))}"


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Fail the run when it leaves behind what only a live test can make."""
    if why_not_live():
        yield
        return
    before = leftovers.in_the_kernel()
    yield
    left = leftovers.in_the_kernel() - before
    assert not left, f"the tests left behind: {', '.join(sorted(left))}"
