# SPDX-License-Identifier: Apache-2.0
"""The example of a project that gates its pull requests: its test and its workflow run as they stand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from tests import bootkernels
from tests.docs.documents import ROOT, blocks

EXAMPLE = ROOT / "examples/gate"
WORKFLOW = ".github/workflows/bpf.yml"
BIN = Path(sys.executable).parent


def steps(job: str) -> dict[str, str]:
    """The shell steps of a job by their names, in order."""
    document = yaml.safe_load((EXAMPLE / WORKFLOW).read_text())
    return {one["name"]: one["run"] for one in document["jobs"][job]["steps"] if "run" in one}


def variables() -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load((EXAMPLE / WORKFLOW).read_text())["env"]
    return found


@pytest.fixture
def project(tmp_path: Path, need_tool: Callable[[str], str]) -> Path:
    """A copy of the example, its object built by its own Makefile."""
    folder = tmp_path / "gate"
    shutil.copytree(EXAMPLE, folder)
    make = ["make", "-C", str(folder), f"CLANG={need_tool('clang')}"]
    subprocess.run(make, check=True, capture_output=True)
    return folder


@pytest.fixture
def shell(project: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a step as a runner does in a container: `sh -e`, with what installs things replaced by nothing."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("apt-get", "python3"):
        (stubs / name).write_text('#!/bin/sh\necho "$0 $*"\n')
        (stubs / name).chmod(0o755)

    def run(script: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            **variables(),
            "PATH": f"{stubs}:{BIN}:{os.environ['PATH']}",
            "GITHUB_PATH": str(tmp_path / "path"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            **more,
        }
        script = script.replace("/opt/holdfast/bin/pip", "echo pip")
        command = ["sh", "-e", "-c", script]
        return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=900)

    return run


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own with the plugins that are installed, none of ours put in by hand."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)


def test_its_test_runs_with_the_plugin_that_is_installed(project: Path) -> None:
    ran = _pytest(project, "tests")
    assert ran.returncode == 0 and "3 passed" in ran.stdout, ran.stdout + ran.stderr
    without = _pytest(project, "-p", "no:holdfast", "tests")
    assert without.returncode == 1 and "fixture 'bpf_loads' not found" in without.stdout


def test_its_test_fails_in_a_line_that_says_why(project: Path) -> None:
    source = (project / "connect.bpf.c").read_text()
    (project / "connect.bpf.c").write_text(
        source.replace("int tgid;\n}", "int tigd;\n}").replace("->tgid", "->tigd")
    )
    subprocess.run(["make", "-C", str(project)], check=True, capture_output=True)
    ran = _pytest(project, "tests")
    assert ran.returncode == 1 and "3 failed" in ran.stdout
    line = next(line for line in ran.stdout.splitlines() if line.startswith("count on debian/5.10"))
    assert "does not load: CORE_MISSING" in line and "tigd" in line
    assert "site-packages" not in ran.stdout and "pytest_plugin.py" not in ran.stdout


def test_its_test_is_as_short_as_is_said() -> None:
    lines = (EXAMPLE / "tests/test_kernels.py").read_text().splitlines()
    assert len([line for line in lines if line.strip() and not line.startswith("#")]) <= 10


def test_the_plugin_is_imported_without_the_rest() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import holdfast.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) <= {"holdfast", "holdfast.pytest_plugin", "holdfast._version"}


def test_the_workflow_is_whole() -> None:
    document: dict[Any, Any] = yaml.safe_load((EXAMPLE / WORKFLOW).read_text())
    assert set(document) == {"name", True, "env", "jobs"}  # `on` is true to YAML 1.1
    for job in document["jobs"].values():
        assert job["permissions"]["contents"] == "read"
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    assert list(steps("check")) == ["install", "build", "check"]
    assert list(steps("verify")) == ["install", "build", "verify"]


def test_the_check_job(shell: Callable[..., Any], project: Path, tmp_path: Path) -> None:
    for name, script in steps("check").items():
        ran = shell(script)
        assert ran.returncode == 0, (name, ran.stdout, ran.stderr)
    assert (tmp_path / "path").read_text() == "/opt/holdfast/bin\n"
    assert json.loads((project / "check.sarif").read_text())["runs"][0]["results"] == []
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("3 loads: 3 loads") and "| connect.bpf.o: `count` |" in summary


def test_the_check_job_fails_where_a_program_does(shell: Callable[..., Any], project: Path) -> None:
    text = (project / "connect.bpf.c").read_text()
    (project / "connect.bpf.c").write_text(text.replace("(void *)35", "(void *)3500"))
    subprocess.run(["make", "-C", str(project)], check=True, capture_output=True)
    ran = shell(steps("check")["check"])
    assert ran.returncode == 4
    (result,) = json.loads((project / "check.sarif").read_text())["runs"][0]["results"]
    assert result["ruleId"] == "HELPER_MISSING" and len(result["properties"]["kernels"]) == 3


def test_the_workflow_with_a_mistake_in_it_is_an_error(shell: Callable[..., Any]) -> None:
    ran = shell(steps("check")["check"], KERNELS="debian/4.*")
    assert ran.returncode == 2 and "no kernel 'debian/4.*'" in ran.stderr


@pytest.mark.live
@pytest.mark.slow
def test_the_verify_job(shell: Callable[..., Any], project: Path, tmp_path: Path) -> None:
    bootkernels.kernels()  # skips where nothing can be booted
    (package, *_) = bootkernels.packages(bootkernels.FOLDER)
    pool = tmp_path / "cache/holdfast/packages/pool"
    pool.mkdir(parents=True)
    (pool / package.name).symlink_to(package)
    release = package.name.removeprefix("linux-image-").partition("_")[0]
    for name, script in steps("verify").items():
        ran = shell(script, KERNELS=f"debian/{release}", XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert ran.returncode == 0, (name, ran.stdout, ran.stderr)
    suite = ElementTree.parse(project / "verify.xml").getroot().find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("1", "0")


def test_documents_show_the_example_as_it_is() -> None:
    (shown,) = [block.text for block in blocks("docs/ci.md", "python") if "parametrize" in block.text]
    assert shown.strip() in (EXAMPLE / "tests/test_kernels.py").read_text()
    for block in blocks("docs/ci.md", "yaml"):
        assert yaml.safe_load(block.text)
