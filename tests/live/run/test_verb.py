# SPDX-License-Identifier: Apache-2.0
"""``holdfast run`` as a shell sees it: output, environment, signals, exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.bundle.conftest import Build
from tests.live.load.objects import gone

from holdfast import sys as kernel

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

HOLDFAST = [sys.executable, "-m", "holdfast.cli.main", "run"]
ROOT = Path(__file__).resolve().parents[3]
# Tells every variable of ours, and what the descriptors are.
TELL = """
import json, os, sys
said = {name: value for name, value in os.environ.items() if name.startswith("HOLDFAST_")}
for name, value in list(said.items()):
    if name.startswith(("HOLDFAST_PROG_", "HOLDFAST_MAP_", "HOLDFAST_LINK_")):
        lines = open(f"/proc/self/fdinfo/{value}").read().splitlines()
        said[name] = dict(line.split(":\\t", 1) for line in lines)
json.dump(said, sys.stdout)
sys.exit(7)
"""


def holdfast(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HOLDFAST, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_dry_run_loads_nothing_and_tells_the_plan(build: Build) -> None:
    folder = build("newer", "good")
    run = holdfast(folder, "--dry-run")
    assert (run.returncode, run.stderr) == (0, "")
    head, first, *_, last = run.stdout.splitlines()
    assert head.startswith("test/small: variant 'good' loads [live/")
    assert first == "  1. newer  skip (FAILS)"
    assert last == "  2. good  try (LOADS)"
    assert "holdfast_no_such_kfunc" in run.stdout

    told = json.loads(holdfast("--format", "json", "--dry-run", folder).stdout)
    assert told["schema_version"] == 1
    assert (told["verdict"], told["best"], told["fallback"]) == ("LOADS", "good", True)
    assert [one["verdict"] for one in told["variants"]] == ["FAILS", "LOADS"]


def test_dry_run_of_what_cannot_load(build: Build) -> None:
    run = holdfast(build("newer"), "--dry-run")
    assert run.returncode == 4, run.stderr
    assert "no variant can load; the fallback 'user-space' does the job" in run.stdout


def test_a_command_gets_descriptors_and_its_status_is_ours(build: Build) -> None:
    folder = build("watching", kind="RAW_TRACEPOINT", attach="auto")
    run = holdfast(folder, "--", sys.executable, "-c", TELL, HOLDFAST_PROG_OLD="3", HOLDFAST_LIBBPF_X="kept")
    assert run.returncode == 7, run.stderr
    said = json.loads(run.stdout)  # the command's alone
    assert said.pop("HOLDFAST_LIBBPF_X") == "kept"
    program, link = said.pop("HOLDFAST_PROG_STEER"), said.pop("HOLDFAST_LINK_STEER")
    assert said.pop("HOLDFAST_MAP_CONFIG")["map_type"] == "2"
    assert link["prog_id"] == program["prog_id"]
    assert said == {"HOLDFAST_BUNDLE": "test/small", "HOLDFAST_VARIANT": "watching", "HOLDFAST_FALLBACK": "0"}
    assert "variant 'watching' runs" in run.stderr
    assert gone("link", int(link["link_id"]))
    assert gone("prog", int(program["prog_id"]))


def test_a_command_on_the_fallback(build: Build) -> None:
    run = holdfast(build("refused"), "--", sys.executable, "-c", TELL)
    assert run.returncode == 7
    assert json.loads(run.stdout) == {
        "HOLDFAST_BUNDLE": "test/small",
        "HOLDFAST_VARIANT": "",
        "HOLDFAST_FALLBACK": "1",
    }
    assert "invalid mem access 'scalar'" in run.stderr


def test_commands_that_do_not_start_or_die(build: Build, tmp_path: Path) -> None:
    folder = build("good")
    assert holdfast(folder, "--", "/nonexistent/command").returncode == 127
    (tmp_path / "plain").write_text("text")
    assert holdfast(folder, "--", tmp_path / "plain").returncode == 126
    assert holdfast(folder, "--", "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_held_until_a_signal(build: Build, number: signal.Signals) -> None:
    folder = build("watching", kind="RAW_TRACEPOINT", attach="auto")
    command = [*HOLDFAST, "--format", "json", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "holding variant 'watching', attached: steer; Ctrl-C or SIGTERM ends it" in said
        program = _ids(process.pid)["prog_id"]
        assert program and program <= set(kernel.ids("prog"))
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "detached and unloaded" in errors
    assert json.loads(output)["variant"] == "watching"
    assert all(gone("prog", one) for one in program)


def test_a_signal_reaches_the_command(build: Build) -> None:
    script = "echo ready; trap 'exit 3' TERM; while :; do sleep 0.05; done"
    command = [*HOLDFAST, str(build("good")), "--", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (3, 128 + signal.SIGTERM)  # the trap may not be set yet


def test_pinned_and_left(build: Build, pin_folder: Path) -> None:
    run = holdfast(build("watching", kind="RAW_TRACEPOINT", attach="auto"), "--pin", pin_folder)
    assert run.returncode == 0, run.stderr
    assert sorted(str(one.relative_to(pin_folder)) for one in pin_folder.rglob("*")) == [
        "config",
        "links",
        "links/steer",
        "steer",
    ]
    with kernel.obj_get(pin_folder / "links" / "steer") as link:
        assert kernel.link_info(link.fileno()).id in set(kernel.ids("link"))


def test_without_a_variant(build: Build) -> None:
    run = holdfast(build("refused"))
    assert (run.returncode, run.stderr) == (4, "")
    assert "the fallback 'user-space' does the job" in run.stdout
    run = holdfast("--format", "json", build("refused", fallback=False))
    assert run.returncode == 5
    assert "no variant runs here, and there is no fallback" in run.stderr
    told = json.loads(run.stdout)
    assert (told["variant"], told["fallback"]) == (None, False)
    (variant,) = told["variants"]
    assert variant["result"] == "REFUSED"
    assert "invalid mem access" in variant["log"]


def test_usage(build: Build, tmp_path: Path) -> None:
    assert holdfast(build("good"), "--dry-run", "--pin", "/sys/fs/bpf/x").returncode == 2
    assert holdfast().returncode == 2
    run = holdfast(tmp_path / "nothing")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "hint: a bundle is a folder with a holdfast.toml"
    assert "Traceback" not in run.stderr


def test_the_real_bundle_runs_here() -> None:
    folder = ROOT / "bundles" / "net" / "rss"
    if not list(folder.glob("*.bpf.o")):
        assert os.environ.get("CI") != "true", "make setup builds it"
        pytest.skip("bundles/net/rss is not built: scripts/build-bpf")
    run = holdfast("--format", "json", folder, "--", "true")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stderr)
    assert told["variant"] in ("cast", "dynptr", "helpers")
    assert set(told["maps"]) == {"rss_state"}


def _ids(pid: int) -> dict[str, set[int]]:
    """Ids of what another process holds."""
    found: dict[str, set[int]] = {"prog_id": set(), "map_id": set(), "link_id": set()}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        for line in path.read_text().splitlines():
            kind, _, number = line.partition(":")
            if kind in found:
                found[kind].add(int(number))
    return found
