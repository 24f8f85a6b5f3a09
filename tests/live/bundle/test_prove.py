# SPDX-License-Identifier: Apache-2.0
"""Proofs called with what runs: net/rss works here, and a program that steers wrongly is found out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.live.bundle.conftest import Build

from holdfast.bundle import Bundle, Count, Proved
from holdfast.bundle.plan import Plan, PlanStep
from holdfast.errors import KernelAccessError, ManifestError, UsageError
from holdfast.load.outcome import Outcome
from holdfast.load.prove import prepared, prove
from holdfast.load.runner import carry_out
from holdfast.load.session import Session
from holdfast.rss.shipped import bundle_path
from holdfast.terms import Verdict
from holdfast.vm.guest.carry_bundle import FALLBACK, PLAN, carry_bundle, variant_trial

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

HERE = "tests.live.bundle.test_prove"
STANDS: list[str] = []
PROOF = f'[proof]\npython = "{HERE}:NAME"\nprepare = "{HERE}:ready"\n'


def ready() -> int:
    return 42


def answers(outcome: Outcome, answer: int) -> Proved:
    """The proof of the test's bundle: its program returns what its map holds."""
    if outcome.is_fallback:
        return Proved(cannot="there is nothing in user space")
    outcome.map("config").update(0, answer.to_bytes(8, "little"))
    return Proved(
        (Count("answers", int(outcome.program("steer").test_run(bytes(64)).return_value == answer), 1),)
    )


def breaks(outcome: Outcome, answer: int) -> Proved:
    raise ZeroDivisionError("the proof itself")


def says_nothing(outcome: Outcome, answer: int) -> None:
    pass


def tried(folder: Path, verdicts: Sequence[str], *trials: str) -> dict[str, dict[str, Any]]:
    bundle = Bundle.open(folder)
    files = {"holdfast.toml": bundle.manifest.path.read_bytes()}
    files |= {one.variant.object: one.content for one in bundle.variants}
    rows: list[Mapping[str, Any]] = [{"verdict": one, "reasons": []} for one in verdicts]
    found = carry_bundle(files, "k", rows, trials, prepared(bundle.manifest))
    return {row["trial"]: row for row in found}


def with_proof(folder: Path, name: str) -> Path:
    manifest = folder / "holdfast.toml"
    manifest.write_text(manifest.read_text() + PROOF.replace("NAME", name))
    return folder


def test_variants_are_carried_out_and_proven(build: Build) -> None:
    folder = with_proof(build("newer", "refused", "good"), "answers")
    trials = (PLAN, *map(variant_trial, ("newer", "refused", "good")), FALLBACK)
    rows = tried(folder, ["FAILS", "LOADS", "UNKNOWN"], *trials)
    plan, newer, refused, good, fallback = (rows[one] for one in trials)
    assert plan["runs"] == "good" and not plan["fallback"]
    assert [step["result"] for step in plan["steps"]] == ["SKIPPED", "REFUSED", "RUNS"]
    assert newer["runs"] is None and "holdfast_no_such_kfunc" in newer["steps"][0]["words"]
    (step,) = refused["steps"]
    assert step["errno"] == 13 and "invalid mem access" in step["words"] and "invalid mem" in step["log"]
    assert str(folder) not in step["words"] and "/tmp" not in step["words"]
    assert good["proof"]["works"] is True and good["proof"]["counts"][0]["what"] == "answers"
    assert good["programs"]["steer"]["jited_size"] > 0
    assert fallback["fallback"] and fallback["proof"]["cannot"] == "there is nothing in user space"


@contextmanager
def stand() -> Iterator[Callable[[Session], None]]:
    """Something that is there while a variant is loaded and proven; ``config`` gets room for two."""
    STANDS.append("made")
    try:
        yield lambda session: session.set_max_entries("config", 2)
    finally:
        STANDS.append("gone")


def no_ground() -> object:
    raise KernelAccessError("there is no such device")


def two_entries(outcome: Outcome, answer: int) -> Proved:
    STANDS.append("proven")
    return Proved((Count("entries", outcome.map("config").max_entries, 2),))


def test_a_ground_is_there_from_loading_to_the_proof(build: Build) -> None:
    folder = with_proof(build("good"), "two_entries")
    manifest = folder / "holdfast.toml"
    text = manifest.read_text()
    manifest.write_text(f'{text}ground = "{HERE}:stand"\n')
    STANDS.clear()
    row = tried(folder, ["LOADS"], variant_trial("good"))[variant_trial("good")]
    assert row["proof"]["works"] is True and STANDS == ["made", "proven", "gone"]
    manifest.write_text(f'{text}ground = "{HERE}:no_ground"\n')
    row = tried(folder, ["LOADS"], PLAN)[PLAN]
    assert row["trouble"] == "there is no such device" and not row["steps"] and row["runs"] is None


def test_a_proof_that_breaks_is_no_verdict(build: Build) -> None:
    folder = with_proof(build("good"), "breaks")
    row = tried(folder, ["LOADS"], variant_trial("good"))[variant_trial("good")]
    assert row["runs"] == "good" and row["proof"] is None
    assert row["trouble"] == "the proof broke: ZeroDivisionError: the proof itself"


def test_nothing_runs_and_no_fallback(build: Build) -> None:
    folder = with_proof(build("refused", fallback=False), "answers")
    row = tried(folder, ["LOADS"], PLAN)[PLAN]
    assert row["runs"] is None and not row["fallback"] and "no variant runs here" in row["error"]
    assert row["steps"][0]["errno"] == 13


def test_proofs_that_are_none(build: Build) -> None:
    folder = build("good")
    plain = Bundle.open(folder)

    def outcome(bundle: Bundle) -> Outcome:
        return carry_out(Plan(bundle, "k", (PlanStep(bundle.variants[0], Verdict.UNKNOWN, ()),)))

    with outcome(plain) as ran, pytest.raises(UsageError, match="has no proof"):
        prove(ran)
    with (
        outcome(Bundle.open(with_proof(folder, "says_nothing"))) as ran,
        pytest.raises(ManifestError, match="returned NoneType"),
    ):
        prove(ran)


def opened(name: str) -> Bundle:
    folder = bundle_path(name)
    if not list(folder.glob("*.bpf.o")):
        assert os.environ.get("CI") != "true", "make setup builds it"
        pytest.skip(f"bundles/{name} is not built: scripts/build-bpf")
    return Bundle.open(folder)


@pytest.fixture
def net_rss() -> Bundle:
    return opened("net/rss")


@pytest.mark.parametrize(
    "name", ["net/rss", "net/rss-tunnel", "net/rss-qemu", "net/rss-report-tunnel", "net/rss-tc-tunnel"]
)
def test_every_variant_works_here(name: str) -> None:
    bundle = opened(name)
    ready = prepared(bundle.manifest)
    for variant in bundle.variants:
        with carry_out(Plan(bundle, "k", (PlanStep(variant, Verdict.UNKNOWN, ()),))) as outcome:
            # a kernel from before a kfunc is no failure; the last variant has no such excuse
            assert not outcome.is_fallback or variant is not bundle.variants[-1], outcome.explain()
            if not outcome.is_fallback:
                found = prove(outcome, ready)
                assert found.works, found.line
    with carry_out(Plan(bundle, "k", ())) as outcome:
        assert outcome.is_fallback
        assert prove(outcome, ready).works is (None if name == "net/rss-qemu" else True)


def test_wrong_steering_is_found_out(net_rss: Bundle, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are those of net/rss, the program is one that returns nothing but one number."""
    ready = prepared(net_rss.manifest)
    wrong = Bundle.open(build("good"))
    with (
        carry_out(Plan(net_rss, "k", (PlanStep(net_rss.variants[-1], Verdict.UNKNOWN, ()),))) as outcome,
        carry_out(Plan(wrong, "k", (PlanStep(wrong.variants[0], Verdict.UNKNOWN, ()),))) as other,
    ):
        monkeypatch.setattr(outcome, "program", other.program)
        found = prove(outcome, ready)
    assert found.works is False and found.details["lost"] == 0
    assert found.details["queues"][0] == sum(found.details["queues"])
    assert replace(found, counts=found.counts[:1]).works is False
