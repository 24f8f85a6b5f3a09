# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels show`` of a file: the promised JSON, null where nothing is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.kernels.test_facts import kernel_writer

from holdfast.cli.kernels import command
from holdfast.errors import UsageError


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def show(tmp_path: Path, *arguments: str, tags: bool = True) -> tuple[dict[str, object], str, int]:
    path = tmp_path / "some.btf"
    path.write_bytes(kernel_writer(tags).raw())
    result = CliRunner().invoke(command, ["show", str(path), *arguments], standalone_mode=False)
    assert result.exception is None
    output = json.loads(result.stdout) if "json" in arguments else {"text": result.stdout}
    return output, result.stderr, result.return_value


def test_kfuncs_have_the_documented_form(tmp_path: Path) -> None:
    result, _, status = show(tmp_path, "--only", "kfuncs", "--format", "json")
    assert result == {
        "schema_version": 1,
        "id": "file/some.btf",
        "release": "",
        "kfuncs": [
            {
                "name": "bpf_good",
                "flags": None,
                "program_types": None,
                "program_types_undecided": [],
                "narrowed": False,
                "module": None,
                "prototype": "int bpf_good(int x)",
                "evidence": ["btf"],
            }
        ],
    }
    assert status == 0


def test_a_kernel_without_tags_says_unknown_not_none(tmp_path: Path) -> None:
    result, errors, status = show(tmp_path, "--only", "kfuncs", "--format", "json", tags=False)
    assert result["kfuncs"] is None
    assert "no kfunc tags" in errors
    assert status == 8


def test_helpers_and_types(tmp_path: Path) -> None:
    result, _, _ = show(tmp_path, "--only", "helpers", "--format", "json")
    (row,) = result["helpers"]  # type: ignore[misc]
    assert (row["number"], row["name"], row["evidence"]) == (1, "map_lookup_elem", ["btf", "rule"])
    assert "XDP" in row["program_types"]
    result, _, _ = show(tmp_path, "--only", "map-types", "--format", "json")
    rows = {row["type"]: row for row in result["map_types"]}  # type: ignore[attr-defined]
    assert (rows["HASH"]["known"], rows["HASH"]["available"]) == (True, True)
    assert (rows["STACK_TRACE"]["known"], rows["STACK_TRACE"]["available"]) == (True, None)
    assert (rows["RINGBUF"]["known"], rows["RINGBUF"]["available"]) == (False, False)


@pytest.mark.parametrize(
    "only", [(), ("--only", "kfuncs"), ("--only", "helpers"), ("--only", "program-types")]
)
def test_text_fits_100_columns(tmp_path: Path, only: tuple[str, ...]) -> None:
    result, _, _ = show(tmp_path, *only)
    lines = str(result["text"]).splitlines()
    assert lines[0] == "file/some.btf"
    assert max(map(len, lines)) <= 100


def test_an_unknown_kernel_is_a_usage_error() -> None:
    result = CliRunner().invoke(command, ["show", "nowhere/6.1"], standalone_mode=False)
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize("source", ["live", "a/b", "../x", "*", "A", "x\n"])
def test_a_source_that_would_make_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "some.btf"
    path.write_bytes(kernel_writer(True).raw())
    result = CliRunner().invoke(command, ["add", str(path), "--source", source], standalone_mode=False)
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "data").exists()


def test_list_takes_the_words_of_other_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def listed(*selectors: str) -> list[str]:
        result = CliRunner().invoke(command, ["list", *selectors], standalone_mode=False)
        assert result.exception is None
        return result.stdout.splitlines()

    everything = listed()
    assert max(map(len, everything)) <= 100
    assert listed("all") == everything
    (here,) = listed("live")
    assert here.split() == everything[0].split()
    assert listed("live", "debian/6.1.0-50-amd64")[0].startswith("live/")
