# SPDX-License-Identifier: Apache-2.0
"""Evidence `load`: which rows count for which verdict, and that no other does."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.predict.fake import types_of

from holdfast.btf import Btf
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.host import HostFacts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.model import PastLoad, ProgramVerdict, Reason, Stage
from holdfast.terms import Evidence, ProgramType, Verdict
from holdfast.truth import rows
from holdfast.truth.journal import Journal, journal_name
from holdfast.truth.loads import SHIPPED, PastLoads
from holdfast.truth.rows import Truth, TruthRow
from holdfast.truth.words import WordsClass

OBJECT, KERNEL, BUILD = "ab" * 32, "debian/6.1.0-50-amd64", "cd" * 32
LOADED = TruthRow(OBJECT, KERNEL, "libbpf-1.7.0", "prog", True, None, WordsClass.LOADED)
REFUSED = TruthRow(OBJECT, KERNEL, "libbpf-1.7.0", "prog", False, 22, WordsClass.VERIFIER)
FACTS = KernelFacts(KERNEL, "6.1.0-50-amd64", "x86_64", "debian", None, build=BUILD)


def reason(certain: bool, evidence: Evidence = Evidence.BTF) -> Reason:
    code = ReasonCode.HELPER_MISSING if certain else ReasonCode.HELPER_UNKNOWN
    return Reason(code, "helper", "it is so", Stage.VERIFIER_WALK, evidence, certain)


def verdict(of: Verdict, *reasons: Reason) -> ProgramVerdict:
    return ProgramVerdict("a.o", OBJECT, "prog", "tc", ProgramType.SCHED_CLS, KERNEL, (1, 7), of, reasons, ())


LOADS = verdict(Verdict.LOADS)
FAILS = verdict(Verdict.FAILS, reason(True))
UNKNOWN = verdict(Verdict.UNKNOWN, reason(False))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "verify"
    folder.mkdir(mode=0o700)
    return folder


def on_record(folder: Path, *found: TruthRow, names: dict[str, str] | None = None) -> PastLoads:
    """Loads with these rows, on kernels of that build."""
    names = names or {row.sha256: "a.o" for row in found}
    rows.write(folder.parent / "rows.tsv", Truth().with_rows(found, names, {KERNEL: BUILD}))
    return PastLoads((1, 7), shipped=folder.parent / "rows.tsv", journals=folder)


def journal(folder: Path, facts: KernelFacts = FACTS, loader: str = "libbpf-1.7.0") -> Journal:
    return Journal(folder / journal_name(facts.id, bytes.fromhex(facts.build), loader))


def said(loaded: bool, program: str = "prog", sha256: str = OBJECT) -> dict[str, object]:
    return {"sha256": sha256, "program": program, "loaded": loaded, "errno": None if loaded else 22}


@pytest.mark.parametrize("predicted", [LOADS, FAILS, UNKNOWN])
def test_what_loaded_loads(folder: Path, predicted: ProgramVerdict) -> None:
    (told,) = on_record(folder, LOADED).apply([predicted], FACTS)
    assert told.verdict is Verdict.LOADS and told.reasons == ()
    assert told.load == PastLoad("libbpf-1.7.0", True, None, "loaded", predicted.verdict)


@pytest.mark.parametrize("predicted", [LOADS, UNKNOWN])
def test_what_was_refused_fails_with_evidence(folder: Path, predicted: ProgramVerdict) -> None:
    (told,) = on_record(folder, REFUSED).apply([predicted], FACTS)
    first, *rest = told.reasons
    assert told.verdict is Verdict.FAILS
    assert (first.code, first.evidence, first.certain) == (ReasonCode.LOAD_REFUSED, Evidence.LOAD, True)
    assert "22 (EINVAL)" in first.message and "verifier" in first.message
    assert tuple(rest) == predicted.reasons


def test_reasons_of_a_refusal_that_was_foreseen_stay(folder: Path) -> None:
    (told,) = on_record(folder, REFUSED).apply([FAILS], FACTS)
    assert told == replace(FAILS, load=PastLoad("libbpf-1.7.0", False, 22, "verifier", Verdict.FAILS))


OTHERS = {
    "object": replace(LOADED, sha256="ef" * 32),
    "program": replace(LOADED, program="prog2"),
    "kernel": replace(LOADED, kernel="debian/6.1.0-51-amd64"),
    "release of libbpf": replace(LOADED, loader="libbpf-1.6.0"),
    "loader": replace(LOADED, loader="bpftool-7.5"),
    "want of memory": replace(REFUSED, errno=errno.ENOMEM, words=WordsClass.UNKNOWN),
    "want of time": replace(REFUSED, errno=errno.EAGAIN, words=WordsClass.UNKNOWN),
    "privilege": replace(REFUSED, errno=errno.EPERM, words=WordsClass.PRIVILEGE),
}


@pytest.mark.parametrize("row", OTHERS.values(), ids=OTHERS)
def test_no_row_of_anything_else_counts(folder: Path, row: TruthRow) -> None:
    assert on_record(folder, row).apply([UNKNOWN], FACTS) == [UNKNOWN]


def test_a_patch_release_of_libbpf_is_the_same(folder: Path) -> None:
    (told,) = on_record(folder, replace(LOADED, loader="libbpf-1.7.3")).apply([UNKNOWN], FACTS)
    assert told.verdict is Verdict.LOADS


FOREIGN = {
    "another build of the release": replace(FACTS, build="ee" * 32),
    "a file that is no package": replace(FACTS, build=""),
    "a machine": replace(FACTS, host=HostFacts(frozenset())),
    "some modules": KernelFacts(
        KERNEL, "", "x86_64", "debian", Btf(types_of(lambda w: None).raw()), build=BUILD
    ).with_modules(()),
}


@pytest.mark.parametrize("facts", FOREIGN.values(), ids=FOREIGN)
def test_rows_count_for_no_other_kernel(folder: Path, facts: KernelFacts) -> None:
    journal(folder).add(said(True))
    assert on_record(folder, LOADED).apply([UNKNOWN], facts) == [UNKNOWN]


@pytest.mark.parametrize("evidence", [Evidence.PROBE, Evidence.SYSTEM])
def test_what_a_machine_refuses_is_not_overruled(folder: Path, evidence: Evidence) -> None:
    denied = verdict(Verdict.FAILS, reason(True, evidence))
    assert on_record(folder, LOADED).apply([denied], FACTS) == [denied]


def test_of_two_programs_with_one_name_the_first_was_loaded(folder: Path) -> None:
    first, second = on_record(folder, LOADED).apply([UNKNOWN, UNKNOWN], FACTS)
    assert first.verdict is Verdict.LOADS and second == UNKNOWN


def test_objects_that_begin_alike_are_not_taken_for_each_other(folder: Path) -> None:
    twin = OBJECT[:16] + "0" * 48
    loads = on_record(folder, LOADED, names={OBJECT: "a.o", twin: "b.o"})
    assert loads.apply([UNKNOWN], FACTS) == [UNKNOWN]
    alone = on_record(folder, LOADED, names={OBJECT: "a.o"})
    other = replace(UNKNOWN, sha256=twin)
    assert alone.apply([other], FACTS) == [other]


def test_rows_of_a_build_that_is_not_known_do_not_count(folder: Path, tmp_path: Path) -> None:
    rows.write(tmp_path / "old.tsv", Truth().with_rows([LOADED], {OBJECT: "a.o"}))
    assert PastLoads((1, 7), shipped=tmp_path / "old.tsv", journals=folder).apply([UNKNOWN], FACTS) == [
        UNKNOWN
    ]


def test_a_new_run_on_another_build_drops_the_old_rows() -> None:
    old = Truth().with_rows([LOADED], {OBJECT: "a.o"}, {KERNEL: BUILD})
    other = replace(LOADED, program="other")
    assert set(old.with_rows([other], {}, {KERNEL: BUILD}).rows) == {LOADED.key, other.key}
    moved = old.with_rows([other], {}, {KERNEL: "ee" * 32})
    assert set(moved.rows) == {other.key} and moved.builds == {KERNEL: "ee" * 32}
    assert old.with_rows([other], {}).builds == {}


def test_own_runs_count_and_the_last_counts_most(folder: Path) -> None:
    loads = on_record(folder, LOADED)
    journal(folder).add(said(True))
    journal(folder).add(said(True, sha256="ef" * 32))
    journal(folder).add(said(False))
    (told,) = loads.apply([UNKNOWN], FACTS)
    assert told.verdict is Verdict.FAILS and told.load is not None and told.load.errno == 22
    assert PastLoads((1, 6), shipped=folder / "none", journals=folder).apply([UNKNOWN], FACTS) == [UNKNOWN]


@pytest.mark.parametrize("mode", [0o722, 0o702])
def test_a_folder_that_others_may_write_is_not_believed(folder: Path, mode: int) -> None:
    journal(folder).add(said(True))
    folder.chmod(mode)
    assert PastLoads((1, 7), shipped=folder / "none", journals=folder).apply([UNKNOWN], FACTS) == [UNKNOWN]


def test_rows_that_ship_tell_their_builds_and_are_the_catalogues() -> None:
    from holdfast.kernels.catalogue import Catalogue

    truth = rows.read(SHIPPED)
    assert truth.rows and {row.kernel for row in truth.rows.values()} <= truth.builds.keys()
    builtin = Catalogue.builtin()
    known = {row.id for row in builtin.rows()} & truth.builds.keys()
    stale = {one for one in known if builtin.facts(one).build != truth.builds[one]}
    assert known and not stale, "the catalogue has another build now: boot it, or drop the rows"


def test_scoring_never_sees_rows_as_evidence() -> None:
    code = (
        "import sys, holdfast.cli.verify_score, holdfast.truth.judge, holdfast.truth.score_report\n"
        "sys.exit('holdfast.truth.loads' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
