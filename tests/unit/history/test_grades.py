# SPDX-License-Identifier: Apache-2.0
"""The rule of the grades, at its thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.unit.history.fakes import Kfunc, kernel

from holdfast.history import Grade, Lives, grade, grade_on
from holdfast.history.grades import DEPRECATIONS, SETTLED_LONGTERM, SETTLED_SERIES, Graded
from holdfast.history.versions import LONGTERM
from holdfast.kernels import KernelFacts

SERIES = ["6.1", "6.6", "6.10", "6.12", "6.16", "6.17", "6.18", "7.0", "7.1", "7.2"]
SAME = {"bpf_foo": Kfunc([("x", "u32")])}
HARD = {"bpf_foo": Kfunc([("x", "u32")], flags="RET_NULL")}
SOFT = {"bpf_foo": Kfunc([("x", "u64")])}


def kernels(rows: Mapping[str, Mapping[str, Kfunc]], series: Sequence[str] = SERIES) -> list[KernelFacts]:
    """Each series from the named one on has that row."""
    found: list[KernelFacts] = []
    row: dict[str, Kfunc] = {}
    for one in series:
        row = dict(rows.get(one, row))
        found.append(kernel(f"{one}.1", row))
    return found


def graded(rows: Mapping[str, Mapping[str, Kfunc]], series: Sequence[str] = SERIES) -> Graded:
    return grade(Lives(kernels(rows, series)).life("bpf_foo"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"6.1": SAME}, Grade.SETTLED),
        ({"6.12": SAME}, Grade.SETTLED),  # 7 series, 6.12 and 6.18 are longterm
        ({"6.16": SAME}, Grade.NEW),  # 6 series, one of them longterm
        ({"7.2": SAME}, Grade.NEW),
        ({"6.1": SAME, "7.2": HARD}, Grade.MOVING),
        ({"6.1": SAME, "6.16": HARD}, Grade.MOVING),
        ({"6.1": SAME, "6.12": HARD}, Grade.SETTLED),
        ({"6.1": SAME, "7.2": SOFT}, Grade.SETTLED),  # libbpf and the verifier take either
        ({"6.1": SAME, "7.2": {}}, Grade.GONE),
        ({"6.1": SAME, "6.10": {}, "7.0": SAME}, Grade.MOVING),  # was away
    ],
)
def test_rule(rows: Mapping[str, Mapping[str, Kfunc]], expected: Grade) -> None:
    found = graded(rows)
    assert found.grade is expected, found


def test_the_thresholds_are_exact() -> None:
    enough = ["6.10", "6.12", "6.17", "6.18"]
    assert (len(enough), sum(map(_is_longterm, enough))) == (SETTLED_SERIES, SETTLED_LONGTERM)
    assert graded({"6.10": SAME}, enough).grade is Grade.SETTLED
    assert graded({"6.12": SAME}, enough).grade is Grade.NEW  # one series too few
    assert graded({"6.10": SAME}, ["6.10", "6.11", "6.13", "6.18"]).grade is Grade.NEW  # one longterm too few


def _is_longterm(series: str) -> bool:
    major, _, minor = series.partition(".")
    return (int(major), int(minor)) in LONGTERM


def test_too_few_kernels_tell_nothing() -> None:
    found = graded({"7.1": SAME}, ["7.1", "7.2"])
    assert found.grade is None and found.word == "unknown" and "too few" in found.reason


def test_a_move_between_vmlinux_and_a_module_is_the_distributions() -> None:
    module = {"bpf_foo": Kfunc([("x", "u32")], module="m")}
    assert graded({"6.1": SAME, "7.2": module}).grade is Grade.SETTLED


def test_gone_ahead_is_deprecated_where_it_still_is() -> None:
    all_ = kernels({"6.1": SAME, "7.2": {}})
    life = Lives(all_).life("bpf_foo")
    assert grade_on(life, all_[0]).grade is Grade.DEPRECATED
    assert "gone in 7.2" in grade_on(life, all_[0]).reason
    assert grade_on(life, all_[-1]).grade is Grade.GONE


def test_what_the_kernels_text_says() -> None:
    rows = {"6.1": {"scx_bpf_cpu_rq": Kfunc()}}
    life = Lives(kernels(rows)).life("scx_bpf_cpu_rq")
    assert grade(life).grade is Grade.DEPRECATED and "scx_bpf_locked_rq" in grade(life).reason
    early = Lives(kernels(rows, SERIES[:5])).life("scx_bpf_cpu_rq")  # up to 6.16: nobody had said so
    assert grade(early).grade is Grade.SETTLED
    flagged = {"6.1": SAME, "7.2": {"bpf_foo": Kfunc([("x", "u32")], flags="DEPRECATED")}}
    assert graded(flagged).grade is Grade.DEPRECATED


def test_a_name_that_nobody_has() -> None:
    assert graded({}).grade is None


def test_the_documentation_has_grades_and_thresholds() -> None:
    text = (Path(__file__).parents[3] / "docs" / "history.md").read_text()
    for one in Grade:
        assert f"**{one}**" in text
    assert f"{SETTLED_SERIES} catalogued series" in text and f"{SETTLED_LONGTERM} of them longterm" in text
    for name in DEPRECATIONS:
        assert f"`{name}`" in text
