# SPDX-License-Identifier: Apache-2.0
"""``holdfast verify`` on a booted kernel: true answers beside predictions, remembered, in every form."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import bootkernels
from tests.clang import compile_c

from holdfast.cli.verify import command
from holdfast.truth import rows
from holdfast.truth.words import WordsClass

pytestmark = [pytest.mark.live, pytest.mark.slow]

SOURCE = """
extern void bpf_no_such_kfunc(void) __ksym __weak;
SEC("socket") int fits(void *ctx) { return 0; }
SEC("socket") int wild(void *ctx) { return *(volatile int *)1024; }
SEC("tc") int absent(void *ctx) { bpf_no_such_kfunc(); return 0; }
"""


@pytest.fixture
def package() -> Path:
    bootkernels.kernels()  # skips where nothing can be booted
    return bootkernels.to_boot(bootkernels.FOLDER, os.environ)[0]


def test_programs_are_held_against_their_verdicts(
    package: Path,
    need_tool: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = compile_c(need_tool("clang"), SOURCE, tmp_path, "three")
    kept = tmp_path / "rows.tsv"
    line = [str(path), "--kernel", str(package), "--jobs", "1", "--rows", str(kept)]
    status = command.main([*line, "--format", "json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    found = {one["program"]: one for one in document["results"]}
    assert {name: one["loaded"] for name, one in found.items()} == {
        "fits": True, "wild": False, "absent": False
    }, document  # fmt: skip
    assert found["fits"]["right"] and found["absent"]["right"]
    assert found["absent"]["predicted"] == "FAILS" and found["absent"]["codes"][0] == "KFUNC_MISSING"
    assert "bpf_no_such_kfunc" in found["absent"]["last_words"]
    assert found["wild"]["errno"] == 13 and "invalid mem access" in found["wild"]["last_words"]
    assert status == 4
    truth = {row.program: row.words for row in rows.read(kept).rows.values()}
    assert truth == {"fits": WordsClass.LOADED, "wild": WordsClass.VERIFIER, "absent": WordsClass.KFUNC}

    # what is remembered boots nothing
    monkeypatch.setattr("holdfast.vm.boot.Guest.boot", None)
    assert command.main([*line, "--explain", "wild@*"], standalone_mode=False) == 4
    told = capsys.readouterr().out
    assert "predicted  LOADS" in told and "true       FAILS, errno 13" in told
