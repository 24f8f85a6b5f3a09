# SPDX-License-Identifier: Apache-2.0
"""`needs` and `check` for a user without any privilege: they work, and say what keeps him from loading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clang import compile_c

pytestmark = pytest.mark.live

NOBODY = 65534
TEXT = """
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
SEC("socket") int plain(void *ctx) { return 0; }
SEC("tc") int calls(void *ctx) { bpf_rcu_read_lock(); bpf_rcu_read_unlock(); return 0; }
"""
LOAD = """
import sys
from holdfast import load
from holdfast.errors import HoldfastError
try:
    with load.open_object(sys.argv[1], programs=[sys.argv[2]]):
        print("LOADS")
except HoldfastError as error:
    print("FAILS", error)
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def path(need_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    return compile_c(need_tool("clang"), TEXT, folder, "open")


@pytest.fixture
def as_nobody(need_tool: Callable[[str], str]) -> Run:
    """A function that runs Python as a user without privileges, home or cache."""
    setpriv = need_tool("setpriv")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable]
        environment = {**os.environ, "HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"}
        command += [str(argument) for argument in arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")

    return run


def test_needs(as_nobody: Run, path: Path) -> None:
    done = as_nobody("-m", "holdfast.cli.main", "needs", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "bpf_rcu_read_lock (strong)" in done.stdout


def test_check_says_what_is_missing(as_nobody: Run, path: Path) -> None:
    done = as_nobody("-m", "holdfast.cli.main", "check", path, "--format", "json")
    assert (done.returncode, done.stderr) == (4, "")
    rows = {row["program"]: row for row in json.loads(done.stdout)["results"]}
    for row in rows.values():
        assert row["verdict"] == "FAILS"
        assert row["reasons"][0]["code"] == "CAPABILITY_MISSING"
        assert row["reasons"][0]["hint"]
    # who may call a kfunc only a probe tells, which this user cannot make
    assert "KFUNC_UNKNOWN" in {reason["code"] for reason in rows["calls"]["reasons"]}


def test_the_prediction_is_true(as_nobody: Run, path: Path) -> None:
    for program in ("plain", "calls"):
        assert as_nobody("-c", LOAD, path, program).stdout.startswith("FAILS")


def test_what_root_has_asked_before_is_not_taken_for_this_user(as_nobody: Run, path: Path) -> None:
    code = "import sys; from holdfast.cli.main import main; sys.argv[1:] = ['check', sys.argv[1]]; main()"
    as_root = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert as_root.returncode == 0, as_root.stdout + as_root.stderr
    assert as_nobody("-c", code, path).returncode == 4
