# SPDX-License-Identifier: Apache-2.0
"""bundles/net/rss-qemu/rows.h as a model, and every way in which runs on one CPU can interrupt each other.

Each run is a list of steps, each of which is one load or store of the program; the steps of two runs are put
into every order, and a third run, an interrupt, comes between any two of them and goes to its end at once.
The table is two rows here, which a build stores one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

FREE = 2  # runs that take turns; the others are interrupts


class Rows(NamedTuple):
    """struct qemu_rows: the key, the counters, two rows, each as the key that it was made of."""

    key: int = 0
    begun: int = 0
    ended: int = 0
    row0: int = 0
    row1: int = 0


class Run(NamedTuple):
    """One run of the program, by the key that it has copied; ``at`` is the step that comes next."""

    copy: int
    at: str = "ended"
    ended: int = 0
    begun: int = 0
    seen: int = 0
    hashed_by: object = None


def step(rows: Rows, run: Run, *, flaw: str = "") -> tuple[Rows, Run]:
    """The next step of hash_by(); ``flaw`` leaves out what is there for a reason."""
    match run.at:
        case "ended":
            return rows, run._replace(ended=rows.ended, at="begun")
        case "begun":
            at = "compare" if rows.begun == run.ended or flaw == "no equal" else "bitwise"
            return rows, run._replace(begun=rows.begun, at=at)
        case "compare":
            return rows, run._replace(at="row0" if rows.key == run.copy else "count begun")
        case "count begun":
            return rows._replace(begun=rows.begun + 1), run._replace(begun=run.begun + 1, at="mine?")
        case "mine?":
            mine = rows.begun == run.begun or flaw == "no contest"
            return rows, run._replace(at="store key" if mine else "leave")
        case "leave":
            return rows._replace(ended=rows.ended + 1), run._replace(at="bitwise")
        case "store key":
            return rows._replace(key=run.copy), run._replace(at="store row0")
        case "store row0":
            return rows._replace(row0=run.copy), run._replace(at="store row1")
        case "store row1":
            return rows._replace(row1=run.copy), run._replace(at="count ended")
        case "count ended":
            return rows._replace(ended=rows.ended + 1), run._replace(at="row0")
        case "row0":
            return rows, run._replace(seen=rows.row0, at="row1")
        case "row1":
            whole = rows.row1 if rows.row1 == run.seen else "half of each"
            return rows, run._replace(hashed_by=whole, at="unchanged?")
        case "unchanged?":
            kept = rows.begun == run.begun or flaw == "no second look"
            return rows, run._replace(at="end" if kept else "bitwise")
        case "bitwise":
            return rows, run._replace(hashed_by=run.copy, at="end")
    raise AssertionError(run.at)


def ends(rows: Rows, runs: tuple[Run, ...], flaw: str = "") -> Iterator[tuple[Rows, tuple[Run, ...]]]:
    """What all orders of the steps end in, each end once."""
    seen = set()
    waiting = [(rows, runs)]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        rows, runs = state
        going = [number for number, run in enumerate(runs) if run.at != "end"]
        if not going:
            yield state
        for number in going:
            after, moved = step(rows, runs[number], flaw=flaw)
            while number >= FREE and moved.at != "end":
                after, moved = step(after, moved, flaw=flaw)
            waiting.append((after, (*runs[:number], moved, *runs[number + 1 :])))


CASES = [(1, 2), (1, 1), (0, 1), (1, 2, 3), (1, 2, 1), (0, 1, 0)]


@pytest.mark.parametrize("copies", CASES, ids=str)
def test_no_order_of_steps_hashes_by_another_key_or_by_half_a_table(copies: tuple[int, ...]) -> None:
    count = 0
    for rows, runs in ends(Rows(), tuple(Run(copy) for copy in copies)):
        assert [run.hashed_by for run in runs] == list(copies)
        assert rows.begun == rows.ended
        assert rows.row0 == rows.row1 == rows.key
        count += 1
    assert count > 1


@pytest.mark.parametrize("flaw", ["no equal", "no contest", "no second look"])
def test_the_model_finds_what_each_guard_is_for(flaw: str) -> None:
    assert any(
        [run.hashed_by for run in runs] != list(copies)
        for copies in CASES
        for _, runs in ends(Rows(), tuple(Run(copy) for copy in copies), flaw)
    )


def test_undisturbed_a_new_key_is_built_once_and_then_used() -> None:
    rows, runs = Rows(), [Run(5), Run(5)]
    for number in (0, 1):
        while runs[number].at != "end":
            rows, runs[number] = step(rows, runs[number])
    assert rows == Rows(5, 1, 1, 5, 5)
    assert [run.begun for run in runs] == [1, 1]
