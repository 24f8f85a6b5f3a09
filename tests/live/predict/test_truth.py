# SPDX-License-Identifier: Apache-2.0
"""Every program of every real object: what is predicted against what this kernel does with it alone."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pytest
from tests import corpus

from holdfast import load
from holdfast.elf import open_object
from holdfast.errors import LoadError, ObjectFileError, PrivilegeError
from holdfast.kernels.live import facts
from holdfast.predict import Predictor, ProgramVerdict, ReasonCode
from holdfast.predict.wanted import wanted
from holdfast.terms import ProgramType, Verdict

pytestmark = [pytest.mark.live, pytest.mark.corpus, pytest.mark.slow]

# btf_struct_walk() of kernel/bpf/btf.c: a read through a typed pointer at an offset fixed when the object was
# compiled, without CO-RE. The verifier alone follows pointer types, so a LOADS is expected to be wrong here.
BEYOND_NEEDS = re.compile(r"^access beyond (the end of member|struct) ", re.M)
DENIABLE = {ProgramType.TRACING, ProgramType.LSM, ProgramType.EXT}


@dataclass(frozen=True, slots=True)
class Case:
    verdict: ProgramVerdict
    truth: Verdict
    words: str  # libbpf's and the kernel's

    @property
    def name(self) -> str:
        return f"{self.verdict.object_path.rsplit('/', 1)[-1]}: {self.verdict.program}"

    @property
    def is_beyond(self) -> bool:
        wrong = self.verdict.verdict is Verdict.LOADS and self.truth is Verdict.FAILS
        return wrong and BEYOND_NEEDS.search(self.words) is not None


def load_alone(path: str, program: str) -> tuple[Verdict, str]:
    try:
        with load.open_object(path, programs=[program], size_zero_maps=True):
            return Verdict.LOADS, ""
    except (LoadError, PrivilegeError, ObjectFileError) as error:
        return Verdict.FAILS, f"{error}\n{getattr(error, 'log', '')}"


@pytest.fixture(scope="module")
def cases(live: object) -> list[Case]:
    specs = [open_object(path) for path in corpus.objects()]
    predictor = Predictor(facts(wanted(specs)))
    return [
        Case(verdict, *load_alone(spec.path, verdict.program))
        for spec in specs
        for verdict in predictor.check(spec)
    ]


def test_verdicts_are_true(cases: list[Case]) -> None:
    table = Counter((case.verdict.verdict.value, case.truth.value) for case in cases)
    objects = len({case.verdict.object_path for case in cases})
    agreed = sum(count for (said, true), count in table.items() if said == true)
    print(f"{agreed} of {len(cases)} programs of {objects} objects predicted right:", dict(table))
    wrong = [
        f"{case.name}: {case.verdict.verdict}, but {case.truth}: {case.words[:300]}"
        for case in cases
        if case.verdict.verdict is not case.truth and not case.is_beyond
    ]
    assert not wrong, "\n".join(wrong)
    # the way out is for what no need can tell, and stays as rare as that is
    assert sum(case.is_beyond for case in cases) * 200 <= len(cases)
    assert {"LOADS", "FAILS"} <= {true for _, true in table}


def test_denials_are_told_from_failures(cases: list[Case]) -> None:
    """EPERM with no capability missing: only kinds that a policy may close, and the verdict says so."""
    denied = [case for case in cases if "is not permitted, although" in case.words]
    print(f"{len(denied)} programs are denied by this machine")
    for case in denied:
        assert case.verdict.type in DENIABLE, case.name
        assert any(reason.code is ReasonCode.POLICY_DENIED for reason in case.verdict.reasons), case.name
    for case in cases:
        if any(reason.code is ReasonCode.POLICY_DENIED for reason in case.verdict.reasons):
            assert case.truth is Verdict.FAILS, case.name


def test_the_first_reason_is_the_one_that_is_met_first(cases: list[Case]) -> None:
    told = 0
    for case in cases:
        if case.truth is not Verdict.FAILS or not case.verdict.reasons:
            continue
        first = case.verdict.reasons[0]
        if first.code is ReasonCode.POLICY_DENIED:
            token = "not permitted"
        else:
            token = first.need.removeprefix("CO-RE ") if "CO-RE" in first.need else first.need.split()[-1]
        assert token in case.words, f"{case.name}: {first.code} {first.need}, but {case.words[:300]}"
        told += 1
    print(f"{told} failures: libbpf and the kernel name what the first reason names")
    assert told


def test_sources_are_the_verifiers_own(cases: list[Case]) -> None:
    """Where the verifier says at which line it stopped, the first reason says the same line."""
    compared = 0
    for case in cases:
        reasons = case.verdict.reasons
        if not reasons or reasons[0].source is None or "(at " not in case.words:
            continue
        place = case.words.partition("(at ")[2].partition(")")[0]
        assert reasons[0].source == place, f"{case.name}: {reasons[0]} against {place}"
        compared += 1
    print(f"{compared} source lines as the verifier has them")
