# SPDX-License-Identifier: Apache-2.0
"""What goes to stdout and stderr, on a terminal and on none."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.cli.console import PLAIN_WIDTH, make_console, print_json, progress, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Row:
    zulu: int
    alpha: Path


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_no_terminal_is_100_columns_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console()
    assert console.width == PLAIN_WIDTH
    console.print("[red]x[/red] :smile: 12", style="bold")
    assert capsys.readouterr().out == "[red]x[/red] :smile: 12\n"


def test_colour_on_a_terminal_and_none_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed() -> str:
        monkeypatch.setattr(sys, "stdout", Terminal())
        make_console().print("x", style="red")
        return sys.stdout.getvalue()

    assert "\x1b[31m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in printed()


def test_json_is_sorted_indented_and_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": [1], "a": Row(1, Path("x/y"))})
    out, err = capsys.readouterr()
    assert out == '{\n  "a": {\n    "alpha": "x/y",\n    "zulu": 1\n  },\n  "b": [\n    1\n  ]\n}\n'
    assert err == ""


def test_json_refuses_what_has_no_form() -> None:
    with pytest.raises((TypeError, NotImplementedError), match="object"):
        print_json({"a": object()})


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("checking", total=2) as step:
        step("a")
        step("b")
    assert capsys.readouterr() == ("", "")


def test_progress_draws_on_stderr_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("checking", total=2) as step:
        step("[a]")
    drawn = stream.getvalue()
    assert "checking [a]" in drawn
    assert "1/2" in drawn
    assert drawn.endswith("\x1b[2K")  # the line of the bar erased


def test_what_a_name_holds_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("SEC(kprobe/\x1b]0;title\x07\n\x9b31m) \u00e9")
    assert capsys.readouterr().out == r"SEC(kprobe/\x1b]0;title\x07\x0a\x9b31m) é" + "\n"


def test_json_of_a_path_that_is_no_utf_8(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": [os.fsdecode(b"p\xff.o")], "a": "\u00e9"})
    assert json.loads(capsys.readouterr().out) == {"a": "\u00e9", "b": ["p\\xff.o"]}
