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
from tests.conftest import lacks
from tests.docs.documents import ROOT, names, sections, table

from holdfast.elf import open_object
from holdfast.needs.collect import application_sets

SECTIONS = sections("docs/json.md")
OBJECT = "bundles/net/rss/dynptr.bpf.o"
BUNDLE = "bundles/net/rss"
OLD, NEW = "debian/6.1.0-50-cloud-amd64", "debian/6.18.15+deb13-cloud-amd64"
SERIES = "debian/6.1*-cloud-amd64"  # 6.1 and 6.12 to 6.19
RENAMED = "bpf_wq_set_callback_impl"


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


@pytest.mark.corpus
def test_check_where_a_load_is_on_record(corpus: list[Path]) -> None:
    from holdfast.truth import rows
    from holdfast.truth.loads import SHIPPED

    truth = rows.read(SHIPPED)
    known = {row.sha256: row.kernel for row in truth.rows.values() if row.kernel in truth.builds}
    found = next((one for one in corpus if open_object(one).sha256 in known), None)
    if found is None:
        lacks("no object of the corpus is among the rows that ship")
    document = printed("check", str(found), "--kernel", known[open_object(found).sha256])
    assert set(document["results"][0]["load"]) == told("check: load")


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


def test_kernels_add(kernel_btf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert set(printed("kernels", "add", str(kernel_btf))) == told("holdfast kernels add")


def test_kernels_fetch() -> None:
    """Of the rows: an archive may not be there."""
    from holdfast.cli.kernels_fetch import _row
    from holdfast.kernels.sources import KernelBuild

    build = KernelBuild("6.1", "amd64", "linux-image-6.1", "6.1-1", (), (), "linux", "6.1-1", "debian", "sid")
    assert set(_row(build)) == told("fetch: kernels")


def test_kernels_show_names(kernel_btf: Path) -> None:
    for only in names(SECTIONS["show: names"].partition("have such rows")[0])[::3]:
        document = printed("kernels", "show", str(kernel_btf), "--only", only.replace("_", "-"))
        assert set(document) == {"schema_version", "id", "release", only}
        rows = document[only]
        assert rows is None or all(set(row) == told("show: names") for row in rows)


def test_kfunc() -> None:
    document = printed("kfunc", "bpf_dynptr_slice", "--kernel", SERIES)
    assert set(document) == told("holdfast kfunc")
    assert set(document["kernels"][0]) == told("kfunc: kernels")
    (row,) = document["kfuncs"]
    assert set(row) == told("kfunc: kfuncs")
    states = {state["presence"]: set(state) for state in row["kernels"]}
    assert states["present"] == told("kfunc: states") - {"hidden_by", "note"}
    assert set(row["changes"][0]) == told("kfunc: changes")
    keys = {
        key: set(names(text))
        for key, text in ((names(r[0])[0], r[1]) for r in table(SECTIONS["kfunc: kfuncs"]))
    }
    assert set(row["contracts"][0]) == keys["contracts"]
    (renamed,) = printed("kfunc", RENAMED, "--kernel", SERIES)["kfuncs"]
    assert set(renamed["renamed_to"][0]) == keys["renamed_from"]
    listed = printed("kfunc", "bpf_dynptr_sl*", "--kernel", SERIES)["kfuncs"][0]
    in_short = [names(r[0])[0] for r in table(SECTIONS["kfunc: kfuncs"])]
    assert set(listed) == set(in_short[: in_short.index("program_types") + 1])


def test_kernels_diff() -> None:
    document = printed("kernels", "diff", OLD, NEW)
    assert set(document) == told("holdfast kernels diff") - {"turns", "bundles"}
    assert set(document["differences"][0]) == told("diff: differences")
    sections_told = set(names(next(r[1] for r in table(SECTIONS["diff: differences"]) if "section" in r[0])))
    assert {row["section"] for row in document["differences"]} <= sections_told
    document = printed("kernels", "diff", OLD, NEW, OBJECT, BUNDLE)
    assert set(document) == told("holdfast kernels diff")
    assert set(document["turns"][0]) == told("diff: turns")
    bundles = next(r[1] for r in table(SECTIONS["holdfast kernels diff"]) if names(r[0]) == ["bundles"])
    assert set(document["bundles"][0]) == set(names(bundles))


@pytest.mark.live
def test_kernels_probe() -> None:
    document = printed("kernels", "probe", "--only", "kfuncs")
    parts = {
        "program_types",
        "map_types",
        "attach_types",
        "link_types",
        "attachments",
        "instructions",
        "helpers",
    }
    assert set(document) | parts == told("holdfast kernels probe")
    assert set((document["kfuncs"] or [dict.fromkeys(told("probe: kfuncs"))])[0]) == told("probe: kfuncs")


@pytest.mark.live
def test_kernels_show_live() -> None:
    assert set(printed("kernels", "show", "live")["host"]) == told("show: host")
    for only in ("kfuncs", "helpers"):
        document = printed("kernels", "show", "live", "--only", only)
        assert set(document) == {"schema_version", "id", "release", only}
        assert set((document[only] or [dict.fromkeys(told(f"show: {only}"))])[0]) == told(f"show: {only}")


def test_verify_of_bundles() -> None:
    """Of the rows: a boot takes its time, and another test has one."""
    from holdfast.bundle import Count, Proved
    from holdfast.terms import Verdict
    from holdfast.truth.bundles_judge import BundleCase, VariantCase
    from holdfast.truth.bundles_rows import bundle_case_row

    proof = Proved((Count("frames", 1, 1),))
    variant = VariantCase("v", "0" * 64, Verdict.LOADS, loaded=True, proof=proof)
    row = bundle_case_row(BundleCase("b", "b", "k", Verdict.LOADS, "v", (variant,), ran="v"))
    assert set(row) == told("verify: bundles")
    assert set(row["variants"][0]) == told("verify: variants")
    assert set(row["variants"][0]["proof"]) == told("verify: proofs")


@pytest.mark.live
def test_run_proves() -> None:
    proof = printed("run", "--prove", BUNDLE)["proof"]
    assert set(proof) == told("verify: proofs") and proof["works"]


@pytest.mark.live
def test_run() -> None:
    assert set(printed("run", "--dry-run", BUNDLE)) == told("check: bundles") | {"schema_version", "dry_run"}
    document = printed("rss", "demo", "--flows", "0")
    assert set(document) == told("holdfast rss demo")
    assert set(document["demo"]) == told("demo: demo")
    assert set(document["outcome"]) | {"schema_version"} == told("holdfast run")
    assert set(document["outcome"]["variants"][0]) == told("run: variants")


def test_rss_hash(tmp_path: Path) -> None:
    capture = tmp_path / "one.pcap"
    record = bytes(8) + (60).to_bytes(4, "little") * 2 + bytes(60)
    capture.write_bytes(bytes.fromhex("d4c3b2a1 02000400") + bytes(8) + b"\xff\xff\0\0\1\0\0\0" + record)
    document = printed("rss", "hash", str(capture))
    assert set(document) == told("holdfast rss hash")
    assert set(document["frames"][0]) == told("rss hash: frames")


def test_rss_show_and_detach_of_a_device_that_is_not_ours() -> None:
    assert set(printed("rss", "show", "lo")) == told("holdfast rss show")
    assert set(printed("rss", "detach", "lo")) == told("holdfast rss detach")


def test_rss_attach_and_selftest() -> None:
    from holdfast.rss.attach import Attached
    from holdfast.rss.selftest import SelfTest

    attached = Attached("tap0", "tc", "net/rss-tc", "dynptr", Path("pins"), (0,), "", "multiq")
    assert set(attached.to_dict()) | {"schema_version"} == told("holdfast rss attach")
    assert set(SelfTest("net/rss", "dynptr").to_dict()) == told("rss selftest: results")
