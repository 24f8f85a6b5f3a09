# SPDX-License-Identifier: Apache-2.0
"""Verdicts of small programs against real loads on the running kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clang import compile_c
from tests.oracle.predict.programs import PROGRAMS

from holdfast import load
from holdfast.elf import ObjectSpec, open_object
from holdfast.errors import LoadError, ObjectFileError, PrivilegeError
from holdfast.kernels.live import facts
from holdfast.predict import Predictor
from holdfast.predict.wanted import wanted
from holdfast.terms import Verdict

pytestmark = [pytest.mark.oracle, pytest.mark.live]

LICENSES = ("GPL", "MIT")


def load_alone(path: Path) -> tuple[Verdict, str]:
    try:
        with load.open_object(path, programs=["prog"], size_zero_maps=True):
            return Verdict.LOADS, ""
    except (LoadError, PrivilegeError, ObjectFileError) as error:
        return Verdict.FAILS, str(error)


@pytest.fixture(scope="module")
def specs(need_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ObjectSpec]:
    """By license and name."""
    clang, folder = need_tool("clang"), tmp_path_factory.mktemp("programs")
    return {
        f"{license_} {name}": open_object(
            compile_c(clang, text, folder, f"{license_}_{name}", license_=license_)
        )
        for license_ in LICENSES
        for name, text in PROGRAMS.items()
    }


@pytest.fixture(scope="module")
def predictor(live: object, specs: dict[str, ObjectSpec]) -> Predictor:
    return Predictor(facts(wanted(specs.values())))


@pytest.mark.parametrize("license_", LICENSES)
def test_verdicts_are_true(specs: dict[str, ObjectSpec], predictor: Predictor, license_: str) -> None:
    table: Counter[tuple[str, str]] = Counter()
    wrong = []
    for name, spec in specs.items():
        if not name.startswith(license_):
            continue
        (verdict,) = predictor.check(spec)
        truth, words = load_alone(Path(spec.path))
        table[verdict.verdict.value, truth.value] += 1
        if verdict.verdict not in (truth, Verdict.UNKNOWN):
            reasons = [(reason.code.value, reason.message) for reason in verdict.reasons[:2]]
            wrong.append(f"{name}: {verdict.verdict}, but {truth}: {reasons} {words.partition('.o: ')[2]}")
        elif verdict.verdict is Verdict.UNKNOWN:
            print(f"{name}: {truth}, said {verdict.reasons[0].code}: {verdict.reasons[0].message}")
    print(f"{sum(table.values())} programs under {license_}:", dict(table))
    assert not wrong, "\n".join(wrong)
