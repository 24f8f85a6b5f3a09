# SPDX-License-Identifier: Apache-2.0
"""What the JSON of `needs` and `check` says; its keys are held against docs/json.md elsewhere."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.unit.report.conftest import Command

from holdfast.predict import HazardCode, ReasonCode
from holdfast.terms import Evidence

BUNDLE = Path(__file__).parents[3] / "bundles/net/rss"


@pytest.fixture
def checked(holdfast: Command, objects: dict[str, Path], kernel_file: Path) -> Any:
    paths = (objects["rich"], objects["fails"])
    return json.loads(holdfast("check", *paths, "--kernel", kernel_file, "--format", "json").out)


def test_check_values(checked: Any, objects: dict[str, Path]) -> None:
    assert checked["kernels"] == [{"id": "file/vmlinux.btf", "release": ""}]
    rows = {row["program"]: row for row in checked["results"]}
    bad = rows["bad"]
    assert bad["object"] == str(objects["fails"])
    assert bad["sha256"] == sha256(objects["fails"].read_bytes()).hexdigest()
    assert (bad["type"], bad["section"], bad["verdict"]) == ("SCHED_CLS", "tc", "FAILS")
    (reason,) = bad["reasons"]
    assert reason["code"] == "HELPER_MISSING"
    assert reason["source"] == "fails.bpf.c:3"
    assert reason["certain"] is True
    assert {row["kernel"] for row in checked["results"]} == {"file/vmlinux.btf"}
    codes = {str(code) for code in ReasonCode}
    for row in checked["results"]:
        assert row["verdict"] in ("LOADS", "FAILS", "UNKNOWN")
        for one in row["reasons"]:
            assert one["code"] in codes
            assert one["evidence"] in set(map(str, Evidence))
        for one in row["hazards"]:
            assert one["code"] in set(map(str, HazardCode))
    assert checked["bundles"] == []


def test_needs_values(holdfast: Command, objects: dict[str, Path]) -> None:
    document = json.loads(holdfast("needs", objects["rich"], "--format", "json").out)
    (row,) = document["objects"]
    assert [program["autoload"] for program in row["programs"]] == [True, False]
    needs = {need["name"]: need for need in row["programs"][0]["needs"]}
    assert all(
        {"kind", "name", "source", "conditions", "instructions"} <= set(need) for need in needs.values()
    )
    assert needs["bpf_weak"]["guarded"] is True
    assert needs["ring"]["map"]["type"] == "RINGBUF"
    assert needs["ring"]["application_sets"] == ["max_entries"]
    assert needs["function vfs_read"]["at_load"] is True


def test_json_stands_alone_on_stdout(holdfast: Command, objects: dict[str, Path], kernel_file: Path) -> None:
    for arguments in (("needs",), ("check", "--kernel", kernel_file)):
        done = holdfast(*arguments, objects["loads"], "--format", "json")
        text = json.dumps(json.loads(done.out), indent=2, sort_keys=True, ensure_ascii=False)
        assert done.out == text + "\n"


def test_bundles(holdfast: Command, kernel_file: Path) -> None:
    if not (BUNDLE / "helpers.bpf.o").exists():
        pytest.skip("the bundle net/rss is not compiled: make setup")
    done = holdfast("check", BUNDLE, "--kernel", kernel_file, "--format", "json")
    document = json.loads(done.out)
    assert document["results"] == []
    (row,) = document["bundles"]
    assert [variant["name"] for variant in row["variants"]] == ["cast", "dynptr", "helpers"]
    # it has a fallback: the bundle works whatever the kernel is
    assert done.status == 0
