# SPDX-License-Identifier: Apache-2.0
"""docs/json.md names the keys that the verbs print, all of them and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.docs.documents import ROOT, names, sections, table

from holdfast.elf import open_object
from holdfast.needs.collect import application_sets

SECTIONS = sections("docs/json.md")
OBJECT = "bundles/net/rss/dynptr.bpf.o"
BUNDLE = "bundles/net/rss"


def told(heading: str) -> set[str]:
    """The keys that a section's table names."""
    return {names(row[0])[0] for row in table(SECTIONS[heading])}


def printed(*words: str) -> dict[str, Any]:
    """What a verb prints as JSON."""
    command = [sys.executable, "-m", "holdfast.cli.main", *words, "--format", "json"]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=600)
    document = json.loads(ran.stdout)
    assert document["schema_version"] == 1
    return dict(document)


pytestmark = pytest.mark.usefixtures("built_bundle")


def test_needs() -> None:
    document = printed("needs", OBJECT)
    assert set(document) == told("holdfast needs")
    assert set(document["objects"][0]) == told("needs: objects")
    assert set(document["objects"][0]["programs"][0]) == told("needs: programs")


def test_needs_have_what_all_have_in_common() -> None:
    common = {names(row[0])[0] for row in table(sections("docs/needs.md")["What all needs have in common"])}
    kinds = table(sections("docs/needs.md")["The kinds"])
    own = {names(row[0])[0]: set(names(row[2])) for row in kinds}
    for need in printed("needs", OBJECT)["objects"][0]["programs"][0]["needs"]:
        assert set(need) == common | own[need["kind"]]


def test_check_of_an_object(kernel_btf: Path) -> None:
    document = printed("check", OBJECT, "--kernel", str(kernel_btf), "--no-probe")
    assert set(document) == told("holdfast check")
    assert set(document["kernels"][0]) == told("check: kernels")
    result = document["results"][0]
    assert set(result) == told("check: results")
    assert set(result["reasons"][0]) == told("check: reasons")


@pytest.mark.corpus
def test_check_of_an_object_with_hazards(corpus: list[Path], kernel_btf: Path) -> None:
    sized = next(p for p in corpus if any(application_sets(one) for one in open_object(p).maps))
    document = printed("check", str(sized), "--kernel", str(kernel_btf))
    hazards = [hazard for result in document["results"] for hazard in result["hazards"]]
    assert set(hazards[0]) == told("check: hazards")


def test_check_of_a_bundle(kernel_btf: Path) -> None:
    document = printed("check", BUNDLE, "--kernel", str(kernel_btf), "--no-probe")
    row = document["bundles"][0]
    assert set(row) == told("check: bundles")
    assert set(row["variants"][0]) == told("check: variants")
    assert set(row["variants"][0]["reasons"][0]) == told("check: variant reasons")


def test_kernels(kernel_btf: Path) -> None:
    document = printed("kernels", "list")
    assert set(document) == told("holdfast kernels list")
    assert set(document["kernels"][0]) == told("list: kernels")
    shown = printed("kernels", "show", str(kernel_btf))
    assert set(shown) == told("holdfast kernels show")
    assert set(shown["program_types"][0]) == told("show: types") == set(shown["map_types"][0])


@pytest.mark.live
def test_kernels_show_live() -> None:
    assert set(printed("kernels", "show", "live")["host"]) == told("show: host")
    for only in ("kfuncs", "helpers"):
        document = printed("kernels", "show", "live", "--only", only)
        assert set(document) == {"schema_version", "id", "release", only}
        assert set((document[only] or [dict.fromkeys(told(f"show: {only}"))])[0]) == told(f"show: {only}")


@pytest.mark.live
def test_run() -> None:
    assert set(printed("run", "--dry-run", BUNDLE)) == told("check: bundles") | {"schema_version", "dry_run"}
    document = printed("rss", "demo", "--flows", "0")
    assert set(document) == told("holdfast rss demo")
    assert set(document["demo"]) == told("demo: demo")
    assert set(document["outcome"]) | {"schema_version"} == told("holdfast run")
    assert set(document["outcome"]["variants"][0]) == told("run: variants")
