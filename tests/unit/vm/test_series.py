# SPDX-License-Identifier: Apache-2.0
"""Many jobs over several guests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

import pytest

from holdfast.vm.errors import GuestError
from holdfast.vm.job import Job, JobResult
from holdfast.vm.series import carry_out


class FakeGuest:
    """Is lost with every job called ``breaks``."""

    def __init__(self, log: list[str]) -> None:
        log.append("boot")
        self.log = log

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        for job in jobs:
            self.log.append(job.name)
            if job.name == "breaks":
                error = GuestError("it died", console=("one", "two"), job=job.name)
                error.parts = (1, 2)
                raise error
            yield JobResult(job, value=job.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append("close")


def run(names: list[str], boots: int = 3) -> tuple[list[JobResult], list[str]]:
    log: list[str] = []
    boot: Any = lambda: FakeGuest(log)  # noqa: E731
    return list(carry_out(boot, [Job(name, "m:f") for name in names], boots=boots)), log


def test_one_guest_where_none_is_lost() -> None:
    results, log = run(["a", "b"])
    assert [result.value for result in results] == ["a", "b"]
    assert log == ["boot", "a", "b", "close"]


def test_no_job_no_guest() -> None:
    assert run([]) == ([], [])


def test_the_next_guest_goes_on_after_the_job_that_broke_it() -> None:
    results, log = run(["a", "breaks", "b"])
    assert log == ["boot", "a", "breaks", "close", "boot", "b", "close"]
    assert [(result.ok, result.lost) for result in results] == [(True, False), (False, True), (True, False)]
    lost = results[1]
    assert (lost.problem, lost.said, lost.parts) == ("it died", "one\ntwo", (1, 2))


def test_no_guest_is_booted_for_nothing() -> None:
    assert run(["a", "breaks"])[1] == ["boot", "a", "breaks", "close"]


def test_a_kernel_that_breaks_again_and_again_is_given_up() -> None:
    with pytest.raises(GuestError, match="it died"):
        run(["breaks", "breaks", "breaks", "a"], boots=2)


def test_a_kernel_that_does_not_boot_is_tried_once_more() -> None:
    log: list[str] = []
    failures = [GuestError("it failed to boot")]

    def boot() -> Any:
        if failures:
            raise failures.pop()
        return FakeGuest(log)

    assert [one.value for one in carry_out(boot, [Job("a", "m:f")])] == ["a"]
    failures += [GuestError("it failed to boot"), GuestError("it failed to boot")]
    with pytest.raises(GuestError, match="failed to boot"):
        list(carry_out(boot, [Job("a", "m:f")]))
