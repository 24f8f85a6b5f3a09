# SPDX-License-Identifier: Apache-2.0
"""Programs over jobs, jobs over guests that break, and runs that go on where one was interrupted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from holdfast.truth import run, workers
from holdfast.truth.journal import Journal
from holdfast.truth.run import Said, Survey, Task, Trouble, carry_out_task, recall
from holdfast.truth.subject import Load
from holdfast.vm.errors import GuestError
from holdfast.vm.job import Job, JobResult


class FakeGuest:
    """Loads what does not begin with ``fails``; ``kills`` ends it, ``hangs`` the job, as often as is left."""

    boots: ClassVar[list[Sequence[str]]] = []
    left: ClassVar[dict[str, int]] = {}
    loaded: ClassVar[list[str]] = []

    @classmethod
    def boot(
        cls, kernel: Any, *, modules: Sequence[str], packages: Sequence[str], accelerator: str | None
    ) -> Self:
        if kernel == "broken":
            raise GuestError("it failed to boot", console=("panic",))
        cls.boots.append(modules)
        return cls()

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        for job in jobs:
            parts: list[dict[str, Any]] = []
            for number, one in enumerate(job.arguments["objects"]):
                for program in one["programs"]:
                    if self.left.get(program, 0):
                        self.left[program] -= 1
                        if program.startswith("kills"):
                            error = GuestError("it died", console=("last words",))
                            error.parts = tuple(parts)
                            raise error
                        yield JobResult(job, None, tuple(parts), "no news for 300 s", "said")
                        break
                    self.loaded.append(program)
                    fails = program.startswith("fails")
                    row = {"object": number, "program": program, "loaded": not fails, "error": ""}
                    row |= {"errno": 22 if fails else None, "libbpf": [], "verifier": []}
                    parts.append(row | ({"loaded": None} if program == "unheard" else {}))
                else:
                    continue
                break
            else:
                yield JobResult(job, None, tuple(parts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def guests(monkeypatch: pytest.MonkeyPatch) -> type[FakeGuest]:
    monkeypatch.setattr(run, "Guest", FakeGuest)
    monkeypatch.setattr(run, "_unpacked", lambda task: task.kernel)
    FakeGuest.boots, FakeGuest.left, FakeGuest.loaded = [], {}, []
    return FakeGuest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.deb"
    path.write_bytes(b"a package")
    return path


def task(package: Path, *programs: str, folder: Path | None = None, **more: Any) -> Task:
    first = Load("a" * 64, "dir/a.o", b"content", programs)
    return Task(more.pop("kernel", "k"), (package,), (first,), ("nf_tables",), "libbpf-1.7.0", folder, **more)


def told(events: Iterable[Any]) -> list[tuple[str | None, object]]:
    return [
        (one.row["program"], one.row["loaded"]) if isinstance(one, Said) else (one.program, one.message)
        for one in events
    ]


def test_every_program_is_told_in_one_boot(package: Path) -> None:
    names = [f"p{number}" for number in range(150)]
    events = told(carry_out_task(task(package, *names, "fails")))
    assert events == [*((name, True) for name in names), ("fails", False)]
    assert FakeGuest.boots == [("nf_tables",)]


def test_what_breaks_once_is_tried_again_by_itself(package: Path) -> None:
    FakeGuest.left = {"kills": 1, "hangs": 1}
    events = told(carry_out_task(task(package, "a", "kills", "b", "hangs", "c")))
    assert sorted(events, key=str) == sorted(
        [(one, True) for one in ("a", "kills", "b", "hangs", "c")], key=str
    )
    assert len(FakeGuest.boots) == 2


def test_what_breaks_twice_is_trouble_and_no_verdict(package: Path) -> None:
    FakeGuest.left = {"kills": 9}
    events = told(carry_out_task(task(package, "a", "kills", "b")))
    assert events == [("a", True), ("b", True), ("kills", "it died")]


def test_a_kernel_that_breaks_again_and_again_is_given_up(package: Path) -> None:
    FakeGuest.left = {"kills1": 9, "kills2": 9}
    *_, last = carry_out_task(task(package, "kills1", "kills2", "a"), boots=2)
    assert isinstance(last, Trouble) and last.program is None and last.console == ("last words",)
    assert last.message.endswith("programs left)")


def test_a_program_that_libbpf_does_not_find_is_trouble(package: Path) -> None:
    assert told(carry_out_task(task(package, "unheard", "a"))) == [("unheard", ""), ("a", True)]


def test_an_interrupted_run_goes_on(package: Path, tmp_path: Path) -> None:
    events = carry_out_task(task(package, "a", "b", folder=tmp_path / "kept"))
    next(events)
    events.close()  # type: ignore[attr-defined]
    (journal,) = (tmp_path / "kept").iterdir()
    with journal.open("ab") as file:
        file.write(b'{"sha256": "cut o')
    again = list(carry_out_task(task(package, "a", "b", "c", folder=tmp_path / "kept")))
    assert told(again) == [("a", True), ("b", True), ("c", True)]
    assert again[0].remembered  # type: ignore[union-attr]
    assert FakeGuest.loaded.count("a") == 1
    FakeGuest.boots.clear()
    assert len(list(carry_out_task(task(package, "a", "b", "c", folder=tmp_path / "kept")))) == 3
    assert FakeGuest.boots == []
    assert len(list(carry_out_task(task(package, "a", folder=tmp_path / "kept", afresh=True)))) == 1
    assert len(FakeGuest.boots) == 1


def test_what_is_left_is_told_without_booting(package: Path, tmp_path: Path) -> None:
    asked = task(package, "a", "b", folder=tmp_path / "kept")
    events, left = recall(asked)
    assert events == [] and left.loads == asked.loads and left.build and not left.is_done
    list(carry_out_task(task(package, "b", folder=tmp_path / "kept")))
    events, left = recall(asked)
    assert told(events) == [("b", True)] and left.loads[0].programs == ("a",)
    assert recall(replace(asked, afresh=True))[0] == []
    list(carry_out_task(left))
    events, left = recall(asked)
    assert len(events) == 2 and left.is_done
    assert not replace(left, probe=Survey.WHOLE).is_done
    assert replace(left, probe=Survey.QUICK).is_done, "nothing is booted for it alone"


def test_another_build_or_loader_is_not_remembered(package: Path, tmp_path: Path) -> None:
    list(carry_out_task(task(package, "a", folder=tmp_path / "kept")))
    package.write_bytes(b"another package")
    list(carry_out_task(task(package, "a", folder=tmp_path / "kept")))
    assert FakeGuest.loaded == ["a", "a"]


def test_a_kernel_that_does_not_boot_keeps_others_from_nothing(package: Path) -> None:
    tasks = [task(package, "a", kernel="broken"), task(package, "b")]
    first, second = workers.carry_out_all(tasks, 1)
    assert isinstance(first, Trouble) and first.message == "it failed to boot (1 program left)"
    assert told([second]) == [("b", True)]


def test_objects_are_shared_out_where_kernels_are_few(package: Path) -> None:
    loads = tuple(Load(str(number), "a.o", b"", ("p",)) for number in range(5))
    (one,) = workers.shared_out([Task("k", (package,), loads)], 1)
    assert one.loads == loads
    parts = workers.shared_out([Task("k", (package,), loads)], 2)
    assert sorted(load.sha256 for part in parts for load in part.loads) == list("01234")
    assert len(parts) == 2
    assert workers.default_jobs(1) == 1


def test_a_journal_that_is_nowhere_keeps_nothing() -> None:
    journal = Journal(None)
    journal.add({"sha256": "a"})
    assert list(journal.rows()) == []


def test_a_journal_that_cannot_be_written_costs_memory_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    row = {"sha256": "a", "program": "b", "loaded": True, "errno": None}
    for path in (tmp_path / "file/no/folder", tmp_path):
        Journal(path).add(row)
        assert list(Journal(path).rows()) == []
    Journal(Path("/dev/full")).add(row)  # ENOSPC
