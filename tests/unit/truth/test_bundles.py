# SPDX-License-Identifier: Apache-2.0
"""Bundles on the way to guests, guests that break, and what is said of it in every form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from tests.unit.bundle.manifests import MINIMAL, minimal_object, write_bundle
from tests.unit.predict.fake import kernel

from holdfast.bundle import Bundle, Count, Proved
from holdfast.bundle.plan import Plan, PlanReason, PlanStep
from holdfast.cli import verify
from holdfast.cli.verify_bundles import explained, status_of_bundles
from holdfast.errors import HoldfastError, ManifestError, UsageError
from holdfast.load.prove import prepared
from holdfast.report.cases import State
from holdfast.report.junit import junit
from holdfast.terms import Verdict
from holdfast.truth import ground, run, workers
from holdfast.truth.bundles import bundles_of, modules_of, packages_of, part_of, plans, with_prepared
from holdfast.truth.bundles_judge import BundleCase, bundle_cases
from holdfast.truth.bundles_rows import bundle_case_row, case_of_bundle
from holdfast.truth.bundles_run import BundleSaid
from holdfast.truth.bundles_text import bundle_lines, bundles_summary, bundles_tables, variant_lines
from holdfast.truth.judge import predictions
from holdfast.truth.run import Task, Trouble, carry_out_task
from holdfast.truth.subject import subjects
from holdfast.vm import ahead
from holdfast.vm.errors import GuestError
from holdfast.vm.job import Job, JobResult
from holdfast.vm.values import pack, unpack

PROOF = '\n[proof]\npython = "json:prove"\nprepare = "json:dumps"\nmodules = ["tun"]\npackages = ["numpy"]\n'
TRIALS = ("plan", "variant first", "variant second", "fallback")
WRONG = PlanReason("prog", "KFUNC_MISSING", "kfunc bpf_x", "bpf_x is not there", "btf", "wait", "x.c:7", True)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_bundle(tmp_path, MINIMAL + PROOF, "first.bpf.o")
    (tmp_path / "second.bpf.o").write_bytes(minimal_object("prog") + b"\0")
    return Bundle.open(tmp_path)


def planned(bundle: Bundle, first: Verdict = Verdict.FAILS, second: Verdict = Verdict.LOADS) -> Plan:
    steps = tuple(
        PlanStep(one, verdict, (WRONG,) if verdict is Verdict.FAILS else ())
        for one, verdict in zip(bundle.variants, (first, second), strict=True)
    )
    return Plan(bundle, "k", steps)


def proof(right: int = 3) -> dict[str, Any]:
    wrong = () if right == 3 else ("frame 3: queue 1",)
    return Proved((Count("frames", right, 3),), wrong).to_dict()


def row(trial: str, runs: str | None = None, **more: Any) -> dict[str, Any]:
    found = {"trial": trial, "runs": runs, "fallback": False, "steps": [], "error": None, "programs": {}}
    return found | {"proof": None, "trouble": None, "seconds": 0.5} | more


def refused(name: str) -> dict[str, Any]:
    return {"name": name, "result": "REFUSED", "errno": 22, "words": "bpf_x: not found", "log": "3: (85)"}


def answers(*changed: dict[str, Any]) -> list[BundleSaid]:
    """All as it was predicted by :func:`planned`, but for these rows."""
    steps = [{"name": "first", "result": "SKIPPED"}, {"name": "second", "result": "RUNS"}]
    sizes = {"prog": {"verified_insns": 2, "xlated_size": 16, "jited_size": 24}}
    rows = [
        row("plan", "second", steps=steps),
        row("variant first", steps=[refused("first")]),
        row("variant second", "second", steps=[steps[1]], proof=proof(), programs=sizes),
        row("fallback", fallback=True, proof=proof()),
    ]
    found = {one["trial"]: one for one in (*rows, *changed)}
    return [BundleSaid("k", 0, one) for one in found.values()]


def case(
    bundle: Bundle, said: Sequence[BundleSaid], *troubles: Trouble, plan: Plan | None = None
) -> BundleCase:
    (found,) = bundle_cases({(0, "k"): plan or planned(bundle)}, said, troubles)
    return found


# ------------------------------------------------------------ on the way to a guest


def test_a_bundle_is_found_once(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    found = bundles_of([tmp_path, tmp_path / "holdfast.toml", tmp_path / "first.bpf.o", tmp_path / "objects"])
    assert [one.path for one in found] == [tmp_path]
    assert modules_of(found) == ("tun",) and packages_of(found) == ("json", "numpy")


def test_plans_are_made_of_the_verdicts_that_there_are(bundle: Bundle, tmp_path: Path) -> None:
    facts = [kernel()]
    found = plans([bundle], facts, predictions(subjects([tmp_path]), facts, (1, 7)))
    ((number, name),) = found
    assert (number, name) == (0, facts[0].id)
    assert [step.verdict for step in found[number, name].steps] == [Verdict.LOADS, Verdict.LOADS]


def test_a_part_can_be_sent(bundle: Bundle) -> None:
    part = part_of(3, planned(bundle))
    assert part.trials == TRIALS and set(part.files) == {"holdfast.toml", "first.bpf.o", "second.bpf.o"}
    verdicts = unpack(pack(list(part.verdicts)))
    assert verdicts[0]["verdict"] == "FAILS" and PlanReason(**verdicts[0]["reasons"][0]) == WRONG
    assert part.digest == part_of(0, planned(bundle)).digest
    assert part.digest != part_of(3, planned(bundle, Verdict.LOADS)).digest
    ready = with_prepared(part, [b"frames", 2])
    assert ready.prepared == [b"frames", 2] and ready.digest == part.digest
    with pytest.raises(HoldfastError, match="cannot be sent"):
        with_prepared(part, {1, 2})


def test_without_a_proof_the_fallback_is_no_trial(tmp_path: Path) -> None:
    plain = Bundle.open(write_bundle(tmp_path, MINIMAL, "first.bpf.o", "second.bpf.o"))
    assert part_of(0, planned(plain)).trials == TRIALS[:3]
    assert prepared(plain.manifest) is None


def test_what_prepares_is_called(bundle: Bundle) -> None:
    with pytest.raises(TypeError, match="dumps"):
        prepared(bundle.manifest)
    missing = replace(bundle.manifest, proof=replace(bundle.manifest.proof, prepare="json:no"))  # type: ignore[type-var]
    with pytest.raises(ManifestError, match=r"\[proof\] prepare: 'json:no'"):
        prepared(missing)


# ------------------------------------------------------------ guests that break


class FakeGuest:
    """Answers each trial; ``kills`` ends it at a trial, as often as is left."""

    left: ClassVar[dict[str, int]] = {}
    boots: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def boot(cls, kernel: Any, **options: Any) -> Self:
        cls.boots.append(options)
        return cls()

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        for job in jobs:
            parts: list[dict[str, Any]] = []
            for trial in job.arguments["trials"]:
                if self.left.get(trial, 0):
                    self.left[trial] -= 1
                    error = GuestError("it died", console=("last words",))
                    error.parts = tuple(parts)
                    raise error
                trouble = "the proof broke" if trial == "variant second" else None
                parts.append(row(trial, "second", trouble=trouble))
            yield JobResult(job, None, tuple(parts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tmp_path: Path) -> Task:
    monkeypatch.setattr(run, "Guest", FakeGuest)
    monkeypatch.setattr(run, "_unpacked", lambda task: task.kernel)
    FakeGuest.left, FakeGuest.boots = {}, []
    (tmp_path / "kernel.deb").write_bytes(b"a package")
    part = part_of(0, planned(bundle))
    return Task("k", (tmp_path / "kernel.deb",), (), ("tun",), "libbpf-1.7.0", bundles=(part,))


def told(task: Task, boots: int = 8) -> list[str]:
    return [
        one.trial if isinstance(one, BundleSaid) else f"{one.program}: {one.message}"
        for one in carry_out_task(task, boots=boots)
        if isinstance(one, BundleSaid | Trouble)
    ]


def test_a_bundle_is_carried_out_in_one_boot(task: Task) -> None:
    assert told(replace(task, packages=("json",))) == list(TRIALS)
    (boot,) = FakeGuest.boots
    assert (boot["modules"], boot["packages"]) == (("tun",), ("json",))


def test_a_trial_that_breaks_is_tried_once_more(task: Task) -> None:
    FakeGuest.left = {"variant first": 1}
    assert sorted(told(task)) == sorted(TRIALS) and len(FakeGuest.boots) == 2
    FakeGuest.left = {"variant first": 9}
    assert told(task) == ["plan", "variant second", "fallback", "variant first: it died"]
    FakeGuest.left = {"variant first": 9}
    assert told(task, boots=1) == ["plan", "None: it died (3 programs left)"]


def test_an_interrupted_run_goes_on(task: Task, tmp_path: Path) -> None:
    kept = replace(task, folder=tmp_path / "kept")
    list(carry_out_task(kept))
    again = list(carry_out_task(kept))
    assert [one.remembered for one in again if isinstance(one, BundleSaid)] == [True, True, True, False]
    # what broke is not remembered
    assert isinstance(again[-1], BundleSaid) and again[-1].trial == "variant second"
    assert not any(one.remembered for one in carry_out_task(replace(kept, afresh=True)))  # type: ignore[union-attr]
    (part,) = run.recall(kept)[1].bundles
    assert part.trials == ("variant second",)


# ------------------------------------------------------------ what is said of it


def test_all_as_predicted(bundle: Bundle) -> None:
    one = case(bundle, answers())
    assert (one.ran, one.best, one.works, one.state) == ("second", "second", True, State.LOADS)
    first, second = one.variants
    assert (first.loaded, first.errno, first.planned, first.is_false) == (False, 22, "SKIPPED", False)
    assert (second.loaded, second.works, second.planned) == (True, True, "RUNS")
    assert status_of_bundles([one]) == 0
    lines = list(bundle_lines(one))
    assert lines == [
        "'second' runs",
        "second and the fallback work: 3 of 3 frames",
        "first (skipped): predicted FAILS: bpf_x is not there (x.c:7)",
        "first: true FAILS: bpf_x: not found",
    ]
    table = "\n".join(bundles_tables([one, replace(one, kernel="l"), replace(one, kernel="m", ran=None)]))
    many = [replace(one, kernel=f"kernel-{number}") for number in range(20)]
    assert max(map(len, bundles_tables(many, 50))) <= 50 < max(map(len, bundles_tables(many))) <= 100
    cells = {line[2:20].strip(): line[42:] for line in table.splitlines() if line.startswith("  ")}
    assert cells["1. first"] == "   xx     xx     xx"
    assert cells["2. second"] == "  >+++   >+++    +++"
    assert cells["fallback"] == "     +      +      +"
    assert "  1-2  'second' runs" in table
    assert bundles_summary([one]) == (
        "1 bundle on 1 kernel: 1 run a variant; 1 variants load, 1 proven to work; 2 of 2 verdicts right"
    )


def test_a_variant_that_loads_and_does_not_work(bundle: Bundle) -> None:
    one = case(bundle, answers(row("variant second", "second", proof=proof(2))))
    assert one.state is State.FAILS and one.works is False and status_of_bundles([one]) == 4
    assert one.fails == ("second does not work: 2 of 3 frames; frame 3: queue 1",)
    assert ">++x" in "\n".join(bundles_tables([one]))
    assert any(line.startswith("second does not work: 2 of 3") for line in bundle_lines(one))


def test_a_wrong_verdict_is_no_failure_of_the_bundle(bundle: Bundle) -> None:
    one = case(bundle, answers(row("variant first", "first", proof=proof())))
    assert one.variants[0].is_false and one.state is State.LOADS
    assert " x++*" in "\n".join(bundles_tables([one]))
    assert any("first: true LOADS" in line for line in bundle_lines(one))


def test_nothing_runs(bundle: Bundle) -> None:
    rows = [row("plan", fallback=True), row("variant second", steps=[refused("second")])]
    one = case(bundle, answers(*rows))
    assert (one.ran, one.fallback, one.works, one.state) == (None, "user-space", True, State.FAILS)
    assert next(bundle_lines(one)) == "the fallback 'user-space' does the job"
    one = case(bundle, answers(row("plan", error="test/minimal: no variant runs here"), rows[1]))
    assert one.fails == ("test/minimal: no variant runs here",) and status_of_bundles([one]) == 4


def test_what_is_not_known(bundle: Bundle) -> None:
    cannot = Proved(cannot="this kernel offers no TAP").to_dict()
    one = case(bundle, answers(row("variant second", "second", proof=cannot)))
    assert one.state is State.ERROR and status_of_bundles([one]) == 8
    assert one.open == ("second is not proven: this kernel offers no TAP",)
    broke = case(bundle, answers(row("variant second", "second", trouble="the proof broke: no")))
    assert broke.open == ("second: the proof broke: no",) and ">++!" in "\n".join(bundles_tables([broke]))
    lost = case(bundle, answers()[:2], Trouble("k", "it died", "bundle 0", "variant second"))
    assert "second could not be tried: it died" in lost.open
    other = case(bundle, answers()[:2], Trouble("k", "it died", "bundle 1", "variant second"))
    assert "second could not be tried: nobody knows why" in other.open
    nowhere = case(bundle, answers(row("variant second", trouble="no /dev/uhid")))
    assert nowhere.open == ("second could not be tried: no /dev/uhid",) and nowhere.variants[1].loaded is None
    refusing = case(bundle, answers(row("plan", trouble="no /dev/uhid")))
    assert refusing.open == ("the plan could not be carried out: no /dev/uhid",) and not refusing.fails
    gone = case(bundle, [], Trouble("k", "it failed to boot"))
    assert (
        gone.state is State.ERROR and gone.open[0] == "the plan could not be carried out: it failed to boot"
    )
    assert "x!" in "\n".join(bundles_tables([gone]))


def test_a_variant_is_explained(bundle: Bundle) -> None:
    one = case(bundle, answers())
    for wanted in ("first@k", "test/minimal@k", "test/minimal:f*", "first"):
        assert next(explained([one], wanted))[1].name == "first"
    assert not list(explained([one], "first@l"))
    text = "\n".join(line for each in explained([one], "*@k") for line in variant_lines(*each))
    for words in (
        "KFUNC_MISSING  kfunc bpf_x [x.c:7]: bpf_x is not there (evidence: btf)",
        "true       FAILS, errno 22",
        "the plan   SKIPPED",
        "2 instructions verified, 16 bytes, 24 as machine code",
        "works      3 of 3 frames",
        "3: (85)",
    ):
        assert words in text


def test_forms(bundle: Bundle) -> None:
    good = case(bundle, answers())
    bad = replace(case(bundle, answers(row("variant second", "second", proof=proof(0)))), kernel="l")
    lost = replace(case(bundle, []), kernel="m")
    root = ElementTree.fromstring(
        junit([case_of_bundle(one) for one in (good, bad, lost)]).partition("?>")[2]
    )
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    found = bundle_case_row(bad)
    assert found["works"] is False and found["variant"] == "second" and found["variants"][0]["errno"] == 22
    assert found["fallback_proof"]["counts"] == [{"what": "frames", "right": 3, "of": 3}]


def test_the_verb(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests are made up."""
    text = (tmp_path / "holdfast.toml").read_text()
    (tmp_path / "holdfast.toml").write_text(text.replace('prepare = "json:dumps"\n', ""))
    sent: list[Task] = []

    def made_up(tasks: Sequence[Task], jobs: int) -> Iterator[run.Event]:
        for task in tasks:
            sent.append(task)
            for load in task.loads:
                one = {"program": "prog", "loaded": load.name.endswith("second.bpf.o"), "errno": 22}
                yield run.Said(task.kernel, one | {"sha256": load.sha256})
            yield from (BundleSaid(task.kernel, 0, said.row) for said in answers())

    monkeypatch.setattr(ground, "grounds", lambda *_, **__: [ground.Ground(kernel(), (tmp_path / "k.deb",))])
    monkeypatch.setattr(workers, "carry_out_all", made_up)
    monkeypatch.setattr(verify, "_loader", lambda: (1, 7, 0))
    monkeypatch.setattr(ahead, "root_ahead", lambda _: nullcontext())

    def verb(*words: str) -> Result:
        result = CliRunner().invoke(verify.command, [str(tmp_path), *words], standalone_mode=False)
        assert result.exception is None, result.exception
        # one variant fails, and another one does the job
        assert result.return_value == 0
        return result

    said = verb().stdout
    assert "1. first" in said and "1 run a variant" in said
    assert "first.bpf.o: prog" not in said
    (task,) = sent
    assert task.modules[-1] == "tun" and task.packages == ("json", "numpy")
    assert task.bundles[0].trials == TRIALS
    document = json.loads(verb("--format", "json").stdout)
    assert document["bundles"][0]["variant"] == "second" and len(document["results"]) == 2
    root = ElementTree.fromstring(verb("--format", "junit").stdout.partition("?>")[2])
    assert (root.get("tests"), root.get("failures")) == ("1", "0")
    assert "the plan   SKIPPED" in verb("--explain", "first").stdout
    (tmp_path / "holdfast.toml").write_text(text.replace('"json:prove"', '"no_such_package.x:prove"'))
    error = CliRunner().invoke(verify.command, [str(tmp_path)], standalone_mode=False).exception
    assert isinstance(error, UsageError) and "needs the Python package 'no_such_package'" in error.message
