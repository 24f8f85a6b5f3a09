# SPDX-License-Identifier: Apache-2.0
"""The door: what it imports, how errors come out of it, and that a closed pipe is no error worth a word."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import click
import pytest

from holdfast._version import __version__
from holdfast.cli import group as group_module
from holdfast.cli.exit_status import ExitStatus
from holdfast.cli.verbs import VERBS
from holdfast.errors import HoldfastError, UsageError

BUG = "hint: this is a bug; HOLDFAST_DEBUG=1 shows where\n"
DOOR = [sys.executable, "-m", "holdfast.cli.main"]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch):
    """A function that makes the verb `check` do what it is given."""

    def make(callback):
        module = types.ModuleType("holdfast.cli.check")
        module.command = click.command("check")(callback)
        monkeypatch.setitem(sys.modules, "holdfast.cli.check", module)
        return lambda *arguments: group_module.run(["check", *arguments])

    return make


def test_import_brings_in_nothing_that_costs() -> None:
    code = "import sys; old = set(sys.modules); import holdfast.cli.main; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.split(".")[0] for name in done.stdout.split()}
    assert "holdfast" in roots
    assert not roots & {
        "click", "rich", "msgspec", "numpy", "ctypes", "elftools", "pyroute2", "zstandard",
        "dataclasses", "inspect", "json", "tomllib",
    }  # fmt: skip


def test_help_imports_no_verb() -> None:
    code = (
        "import sys; from holdfast.cli.group import run; status = run(['--help']);"
        "print(status, *(m for m in sys.modules if m.startswith('holdfast.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *text, last = done.stdout.splitlines()
    status, *modules = last.split()
    assert status == "0"
    assert not {f"holdfast.cli.{name}" for name in VERBS} & set(modules)
    for name in VERBS:
        assert any(line.split()[:1] == [name] for line in text)


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "check"]])
def test_version(arguments: list[str]) -> None:
    done = subprocess.run([*DOOR, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == f"holdfast {__version__}\n"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_pipe_is_quiet(arguments: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [*DOOR, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    os.close(writer)
    assert (done.stderr, done.returncode) == ("", 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["frobnicate"], "no verb 'frobnicate'"), (["--frobnicate"], "--frobnicate"), ([], "Usage:")],
)
def test_usage_errors_exit_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert group_module.run(arguments) == ExitStatus.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_status_of_a_verb_passes_through(verb) -> None:
    assert verb(lambda: ExitStatus.FAILS | ExitStatus.UNKNOWN)() == 12
    assert verb(lambda: None)() == 0
    assert verb(lambda: click.get_current_context().exit(4))() == 4


def raising(error: BaseException):
    def callback() -> None:
        raise error

    return callback


@pytest.mark.parametrize(
    ("error", "status", "err"),
    [
        (HoldfastError("no BTF", hint="boot another"), 1, "holdfast: no BTF\nhint: boot another\n"),
        (UsageError("no kernel 'x'"), 2, "holdfast: no kernel 'x'\n"),
        (
            FileNotFoundError(2, "No such file or directory", "x.o"),
            1,
            "holdfast: x.o: No such file or directory\n",
        ),
        (
            ValueError("two\nlines"),
            1,
            "holdfast: internal error: ValueError: two lines\n" + BUG,
        ),
        (
            AssertionError(),
            1,
            "holdfast: internal error: AssertionError\n" + BUG,
        ),
        (
            click.BadParameter("too small"),
            2,
            "holdfast: Invalid value: too small\nhint: see holdfast check --help\n",
        ),
    ],
)
def test_errors_are_one_line(verb, error: Exception, status: int, err: str, capsys) -> None:
    assert verb(raising(error))() == status
    assert capsys.readouterr() == ("", err)


def test_interrupt_exits_as_shells_say(verb) -> None:
    assert verb(raising(KeyboardInterrupt()))() == 130


def test_debug_shows_the_traceback(verb, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("HOLDFAST_DEBUG", "1")
    assert verb(raising(HoldfastError("no BTF")))() == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("holdfast: no BTF\n")


@pytest.mark.parametrize(
    ("target", "said"), [("/dev/full", "holdfast: a write failed: No space left on device"), (None, "")]
)
def test_stdout_that_takes_nothing(target: str | None, said: str) -> None:
    redirect = ">&-" if target is None else f">{target}"
    line = f'"{sys.executable}" -m holdfast.cli.main --help {redirect}'
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert ran.returncode == (0 if target is None else 1)
    assert ran.stderr.startswith(said) and "Traceback" not in ran.stderr and "ignored" not in ran.stderr
    assert said or ran.stderr == ""


def test_a_place_that_is_not_ours_is_told_with_a_way_out(verb, capsys) -> None:
    assert verb(raising(PermissionError(13, "Permission denied", "/home/me/.cache")))() == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "holdfast: /home/me/.cache: Permission denied" and "XDG_CACHE_HOME" in said[1]


def test_interrupted_while_importing_is_no_traceback(tmp_path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*DOOR, "needs"], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 130)
