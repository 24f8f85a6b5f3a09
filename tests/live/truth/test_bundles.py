# SPDX-License-Identifier: Apache-2.0
"""net/rss in booted kernels: each variant that loads steers frames through a TAP as it should."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from tests import bootkernels
from tests.live.bundle.bundles import SOURCES, build_bundle

from holdfast.cli.verify import command
from holdfast.rss.shipped import bundle_path

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def built_rss() -> Path:
    folder = bundle_path()
    if not list(folder.glob("*.bpf.o")):
        assert os.environ.get("CI") != "true", "make setup builds it"
        pytest.skip("bundles/net/rss is not built: scripts/build-bpf")
    return folder


@pytest.fixture
def tracker() -> None:
    """What multiprocessing starts once for this process and keeps; its pipe is no leak of the test."""
    resource_tracker.ensure_running()


def test_net_rss_works_in_every_kernel(
    built_rss: Path,
    tracker: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    line = [str(built_rss)]
    for package in bootkernels.ready():
        line += ["--kernel", str(package)]
    status = command.main([*line, "--format", "json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)["bundles"]
    assert found and status == 0, [one["fails"] + one["open"] for one in found]
    for one in found:
        variants = {row["name"]: row for row in one["variants"]}
        assert one["works"] and one["variant"] == one["best"], one
        # helpers goes back to 5.10, and every variant that loads was given frames
        assert variants["helpers"]["loaded"], one
        for row in variants.values():
            assert row["right"] is True, row
            assert row["works"] is (True if row["loaded"] else None), row
            if row["loaded"]:
                assert [count["of"] for count in row["proof"]["counts"]] == [24, 4000, 1000]
                assert sum(row["proof"]["details"]["queues"]) == 5024
            else:
                assert row["errno"] and row["words"], row
        assert one["fallback_proof"]["works"]

    # what was proven is remembered, for just these objects and Python files
    monkeypatch.setattr("holdfast.vm.boot.Guest.boot", None)
    assert command.main([*line, "--format", "junit"], standalone_mode=False) == 0
    assert 'failures="0" errors="0" skipped="0"' in capsys.readouterr().out


PROVER = """
from holdfast.bundle import Count, Proved


def prove(outcome):
    if outcome.variant == "watching":
        open("/proc/sysrq-trigger", "w").write("c")
    answer = outcome.program("steer").test_run(bytes(64)).return_value
    return Proved((Count("answers", int(answer == 0), 1),))
"""


def test_a_proof_of_ones_own_and_a_kernel_that_it_crashes(
    tmp_path: Path,
    need_tool: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The package comes along into the guest; what a panic took is trouble, and the rest is told."""
    package = bootkernels.ready()[0]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "prover").mkdir()
    (tmp_path / "prover/__init__.py").write_text(PROVER)
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "bundle"
    folder.mkdir()
    clang = need_tool("clang")
    monkeypatch.setitem(SOURCES, "watching", SOURCES["good"] + "\n")
    build_bundle(clang, folder, "newer", "watching", "good", fallback=False)
    manifest = folder / "holdfast.toml"
    manifest.write_text(manifest.read_text() + '[proof]\npython = "prover:prove"\n')
    line = [str(folder), "--kernel", str(package), "--jobs", "1", "--format", "json"]
    status = command.main(line, standalone_mode=False)
    (found,) = json.loads(capsys.readouterr().out)["bundles"]
    newer, watching, good = found["variants"]
    assert found["variant"] == "watching" and found["best"] == "watching"
    assert newer["right"] and newer["loaded"] is False and "holdfast_no_such_kfunc" in newer["words"]
    assert good["works"] is True
    assert watching["loaded"] is None and "is lost during bundle test/small" in watching["trouble"]
    assert "Kernel panic" in watching["trouble"] or "sysrq" in watching["trouble"], watching
    assert status == 8
