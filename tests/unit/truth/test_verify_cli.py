# SPDX-License-Identifier: Apache-2.0
"""``holdfast verify`` with guests that are made up, ``--score``, and the fixture for other projects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from tests.elfwriter import RETURN_0, ElfWriter
from tests.unit.predict.fake import kernel

from holdfast import pytest_plugin
from holdfast.cli import verify, verify_score
from holdfast.errors import FileError, UsageError
from holdfast.kernels.catalogue import KernelRow
from holdfast.kernels.catalogue.asked import Asked
from holdfast.kernels.probe_plain import to_plain
from holdfast.kernels.probed import ProbeFacts
from holdfast.terms import MapType
from holdfast.truth import ground, rows, workers
from holdfast.truth import run as truth_run
from holdfast.truth.ground import Ground
from holdfast.truth.probes import ProbeSaid
from holdfast.truth.rows import Truth, TruthRow
from holdfast.truth.run import Event, Said, Survey, Task, Trouble
from holdfast.truth.words import WordsClass
from holdfast.vm import ahead, qemu
from holdfast.vm.errors import GuestError

KERNEL = "file/6.12.0"
ANSWERS: dict[str, dict[str, Any] | str] = {}


def answer(program: str, loaded: bool) -> dict[str, Any]:
    errno = None if loaded else 13
    log = [] if loaded else ["R2 invalid mem access 'scalar'", "processed 2 insns"]
    return {
        "program": program,
        "loaded": loaded,
        "errno": errno,
        "libbpf": [],
        "verifier": log,
        "seconds": 0.5,
    }


def made_up(tasks: Sequence[Task], jobs: int) -> Iterator[Said | Trouble]:
    for task in tasks:
        for load in task.loads:
            for program in load.programs:
                said = ANSWERS[program]
                if isinstance(said, str):
                    yield Trouble(task.kernel, said, load.sha256, program)
                else:
                    yield Said(task.kernel, said | {"sha256": load.sha256})


@pytest.fixture
def two(tmp_path: Path) -> Path:
    elf = ElfWriter()
    elf.program("one", "socket", RETURN_0)
    elf.program("two", "tc", RETURN_0)
    path = tmp_path / "two.o"
    path.write_bytes(elf.bytes())
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    facts = [kernel()]
    monkeypatch.setattr(
        ground, "grounds", lambda *_, **__: [Ground(one, (tmp_path / "k.deb",)) for one in facts]
    )
    monkeypatch.setattr(workers, "carry_out_all", made_up)
    monkeypatch.setattr(qemu, "find", lambda: None)
    monkeypatch.setattr(ahead, "root_ahead", lambda _: nullcontext())
    monkeypatch.setattr(verify, "_loader", lambda: (1, 7, 0))
    monkeypatch.setattr(verify_score, "_facts", lambda truth, selectors: (facts, []))
    ANSWERS.clear()
    ANSWERS.update(one=answer("one", True), two=answer("two", True))

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(verify.command, [str(one) for one in arguments], standalone_mode=False)

    return call


def status(result: Result) -> int:
    assert result.exception is None, result.exception
    return int(result.return_value)


def test_the_status_tells_the_truth(run: Callable[..., Result], two: Path) -> None:
    result = run(two)
    assert status(result) == 0 and "2 of 2 verdicts right" in result.stdout
    ANSWERS["two"] = answer("two", False)
    result = run(two)
    assert status(result) == 4
    assert "two.o: two" in result.stdout and "+x*" in result.stdout
    assert "predicted LOADS, but it fails; said: R2 invalid mem access" in " ".join(result.stdout.split())
    ANSWERS["one"] = "the guest is lost"
    result = run(two)
    assert status(result) == 12 and "could not be tried: the guest is lost" in result.stdout


def test_a_kernel_without_a_package_is_not_tried(
    run: Callable[..., Result], two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Ground(kernel(), (), "trixie has it no more")
    monkeypatch.setattr(ground, "grounds", lambda *_, **__: [gone])
    result = run(two)
    assert status(result) == 8 and "could not be tried: trixie has it no more" in result.stdout


def test_without_qemu_there_is_one_line(
    run: Callable[..., Result], two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find() -> None:
        raise GuestError("qemu-system-x86_64 is not installed")

    monkeypatch.setattr(qemu, "find", find)
    error = run(two).exception
    assert isinstance(error, GuestError)


def test_what_is_remembered_needs_no_qemu(
    run: Callable[..., Result], two: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def find() -> None:
        raise GuestError("qemu-system-x86_64 is not installed")

    def recall(task: Task) -> tuple[list[Event], Task]:
        return list(made_up([task], 1)), replace(task, loads=())

    monkeypatch.setattr(qemu, "find", find)
    monkeypatch.setattr(truth_run, "recall", recall)
    result = run(two)
    assert status(result) == 0 and "2 of 2 verdicts right" in result.stdout


def test_kernels_are_asked_and_what_they_say_is_kept(
    run: Callable[..., Result], two: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    row = KernelRow(KERNEL, "6.12.0", "x86_64", "file", "linux-image-6.12.0 1", False, 0, "")
    one = Ground(kernel(), (tmp_path / "k.deb",), row=row)
    monkeypatch.setattr(ground, "grounds", lambda *_, **__: [one])
    plain: dict[str, Any] = to_plain(ProbeFacts(map_types={MapType.HASH: True})) | {"modules": []}

    def asked(tasks: Sequence[Task], jobs: int) -> Iterator[Event]:
        yield from made_up(tasks, jobs)
        for task in tasks:
            if task.probe:
                yield ProbeSaid(task.kernel, plain, task.probe is Survey.QUICK)

    monkeypatch.setattr(workers, "carry_out_all", asked)
    # what takes a second is asked anyway
    assert "asked" not in run(two).stdout and Asked.open().has(row)
    result = run(two, "--probe")
    assert status(result) == 0 and f"{KERNEL}: asked, 1 answers kept" in result.stdout
    told = json.loads(run(two, "--probe", "--format", "json").stdout)["probed"]
    assert told == [{"kernel": KERNEL, "answers": 1, "quick": False, "disagreements": []}]
    plain["map_types"] = {"NO_SUCH": True}
    assert status(run(two)) == 0, "what nobody asked for is no trouble"
    result = run(two, "--probe")
    assert status(result) == 8 and "not asked: " in result.stdout


def test_a_cell_is_explained(run: Callable[..., Result], two: Path) -> None:
    ANSWERS["two"] = answer("two", False)
    told = run(two, "--explain", "t*@file/6.12*").stdout
    assert "predicted  LOADS" in told and "true       FAILS, errno 13" in told and "one" not in told.split()
    with pytest.raises(UsageError, match="names no program"):
        raise run(two, "--explain", "three").exception  # type: ignore[misc]


def test_every_form_is_one_document(run: Callable[..., Result], two: Path) -> None:
    ANSWERS["two"] = answer("two", False)
    document = json.loads(run(two, "--format", "json").stdout)
    assert document["schema_version"] == 1 and document["loader"] == "libbpf-1.7.0"
    assert [(one["program"], one["loaded"], one["right"]) for one in document["results"]] == [
        ("one", True, True),
        ("two", False, False),
    ]
    assert json.loads(run(two, "--format", "sarif").stdout)["version"] == "2.1.0"
    root = ElementTree.fromstring(run(two, "--format", "junit").stdout.partition("?>")[2])
    assert root.get("failures") == "1"
    assert "| two.o: `two` | **FAILS** (predicted LOADS) |" in run(two, "--format", "markdown").stdout


def test_rows_are_kept_and_scored(run: Callable[..., Result], two: Path, tmp_path: Path) -> None:
    kept = tmp_path / "rows.tsv"
    assert status(run(two, "--rows", kept)) == 0
    assert {row.program: row.words for row in rows.read(kept).rows.values()} == {
        "one": WordsClass.LOADED,
        "two": WordsClass.LOADED,
    }
    result = run("--score", "--rows", kept, two)
    assert status(result) == 0 and "at least 99.5% of LOADS and FAILS right" in result.stdout
    assert "MISSED" not in result.stdout
    truth = rows.read(kept)
    (sha256,) = truth.names
    wrong = TruthRow(sha256, KERNEL, "libbpf-1.7.0", "two", False, 22, WordsClass.MAP)
    rows.write(kept, truth.with_rows([wrong], {"f" * 64: "gone.o"}))
    result = run("--score", "--rows", kept, two)
    assert status(result) == 12
    assert "false LOADS: two.o: two on file/6.12.0" in result.stdout and "gone.o" in result.stdout
    document = json.loads(run("--score", "--rows", kept, "--format", "json", two).stdout)
    assert document["objects_missing"] == ["gone.o"] and document["total"]["false_loads"] == 1


def test_what_makes_no_sense(run: Callable[..., Result], two: Path, tmp_path: Path) -> None:
    rows.write(tmp_path / "empty", Truth())
    for arguments in [
        (),
        ("--score", "--rows", tmp_path / "no"),
        ("--score", "--rows", tmp_path / "empty", two),
    ]:
        assert isinstance(run(*arguments).exception, UsageError), arguments
    assert isinstance(run("--score", "--format", "junit", two).exception, UsageError)


def test_rows_that_cannot_be_kept_are_told_before_anything_boots(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, two: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(verify, "verify", lambda *_, **__: pytest.fail("it was carried out"))
    result = run(two, "--kernel", "k", "--rows", tmp_path / "no/rows.tsv")
    assert isinstance(result.exception, FileError) and "cannot be written" in str(result.exception)


def test_the_running_kernel_is_not_booted() -> None:
    with pytest.raises(UsageError, match="running one cannot be booted"):
        ground.grounds(["live"])


def test_the_fixture_for_other_projects(run: Callable[..., Result], two: Path) -> None:
    require: Callable[..., None] = pytest_plugin._require
    require(two, kernels=["k"], boot=True)
    ANSWERS["two"] = answer("two", False)
    require(two, kernels=["k"], boot=True, programs=["one"])
    with pytest.raises(pytest.fail.Exception, match=r"two on file/6\.12\.0 does not load: LOAD_REFUSED"):
        require(two, kernels=["k"], boot=True)
    with pytest.raises(pytest.fail.Exception, match="has no program 'three'"):
        require(two, kernels=["k"], programs=["three"])


def test_the_fixture_predicts(monkeypatch: pytest.MonkeyPatch, two: Path) -> None:
    import holdfast.kernels.select

    monkeypatch.setattr(holdfast.kernels.select, "select", lambda kernels, **_: [kernel()])
    pytest_plugin._require(two, kernels=["k"])
    old = kernel(without=["BPF_PROG_TYPE_SCHED_CLS", "BPF_PROG_TYPE_SCHED_CLS_prog"])
    monkeypatch.setattr(holdfast.kernels.select, "select", lambda kernels, **_: [old])
    with pytest.raises(pytest.fail.Exception, match=r"two on file/6\.12\.0 does not load: PROGRAM_TYPE"):
        pytest_plugin._require(two, kernels=["k"])
