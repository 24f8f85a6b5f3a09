# SPDX-License-Identifier: Apache-2.0
"""The order of a plan, its verdict and its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.bundle.manifests import MINIMAL, write_bundle

from holdfast.bundle import Bundle
from holdfast.bundle.plan import Action, Plan, PlanReason, plan
from holdfast.bundle.rows import bundle_row
from holdfast.elf import ObjectSpec
from holdfast.errors import HoldfastError
from holdfast.kernels import KernelFacts
from holdfast.terms import Verdict

FACTS = KernelFacts("test/6.1", "6.1", "x86_64", "test", None)


@dataclass
class Reason:
    code: str = "KFUNC_ABSENT"
    need: str = "kfunc bpf_new"
    message: str = "kfunc bpf_new is not there"
    source: str | None = "a.c:3"
    evidence: str = "btf"
    hint: str | None = None
    certain: bool = True


@dataclass
class Predicted:
    program: str
    verdict: Verdict
    reasons: Sequence[Reason] = ()
    hazards: Sequence[object] = ()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.open(write_bundle(tmp_path, MINIMAL, "first.bpf.o", "second.bpf.o"))


def planned(bundle: Bundle, first: Verdict, second: Verdict) -> Plan:
    def check(spec: ObjectSpec, facts: KernelFacts) -> list[Predicted]:
        assert facts is FACTS
        verdict = first if spec.path.endswith("first.bpf.o") else second
        # A program that is not to be loaded has no say.
        return [
            Predicted("idle", Verdict.FAILS),
            Predicted("prog", verdict, [] if verdict is Verdict.LOADS else [Reason()]),
        ]

    return plan(bundle, FACTS, check)


L, F, U = Verdict.LOADS, Verdict.FAILS, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("first", "second", "verdict", "best"),
    [
        (L, L, L, "first"),
        (F, L, L, "second"),
        (U, L, L, "second"),
        (U, F, U, "first"),
        (U, U, U, "first"),
        (F, F, F, None),
    ],
)
def test_verdict_and_best(
    bundle: Bundle, first: Verdict, second: Verdict, verdict: Verdict, best: str
) -> None:
    made = planned(bundle, first, second)
    assert (made.verdict, made.best) == (verdict, best)
    assert [step.variant.name for step in made.steps] == ["first", "second"]
    assert [step.action is Action.SKIP for step in made.steps] == [first is F, second is F]
    assert made.fallback is bundle.manifest.fallback


def test_the_row_is_plain(bundle: Bundle) -> None:
    row = bundle_row(planned(bundle, F, L))
    assert json.loads(json.dumps(row)) == row
    variants = row.pop("variants")
    assert row == {
        "bundle": "test/minimal",
        "path": str(bundle.path),
        "kernel": "test/6.1",
        "verdict": "LOADS",
        "best": "second",
        "fallback": True,
    }
    assert isinstance(variants, list)
    assert variants[0]["sha256"] == bundle.variants[0].sha256
    assert variants[0]["reasons"] == [
        {
            "program": "prog",
            "code": "KFUNC_ABSENT",
            "need": "kfunc bpf_new",
            "message": "kfunc bpf_new is not there",
            "source": "a.c:3",
            "evidence": "btf",
            "certain": True,
            "hint": None,
        }
    ]
    assert variants[1]["reasons"] == []


def test_a_kernel_that_cannot_be_asked_is_tried(bundle: Bundle) -> None:
    made = plan(bundle, None)
    assert [step.action for step in made.steps] == [Action.TRY, Action.TRY]
    assert made.verdict is U


def test_a_program_without_verdict_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(HoldfastError, match="no verdict on program 'prog'"):
        plan(bundle, FACTS, lambda spec, facts: [])


@pytest.mark.parametrize(
    ("need", "message", "line"),
    [
        ("kfunc bpf_x", "bpf_x is not in BTF", "bpf_x is not in BTF (a.c:1)"),
        ("kfunc bpf_x", "who may call it is not known", "kfunc bpf_x: who may call it is not known (a.c:1)"),
        ("CAP_BPF", "this process has none", "this process has none (a.c:1)"),
    ],
)
def test_a_reason_in_one_line_says_what_it_is_about(need: str, message: str, line: str) -> None:
    assert PlanReason("prog", "CODE", need, message, "btf", None, "a.c:1").line == line
