# SPDX-License-Identifier: Apache-2.0
"""What `check` prints for CI, read by what was not written here.

SARIF by models that were generated from OASIS' schema and forbid what it does not have, JUnit by junitparser.
By hand both were also held against OASIS' sarif-schema-2.1.0.json and the junit-10.xsd of Jenkins' xUnit
plugin, which no package brings along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import lacks
from tests.unit.report.test_case_forms import ALL

from holdfast.cli.group import run
from holdfast.report.cases import Case, State
from holdfast.report.junit import junit
from holdfast.report.sarif import sarif

pytestmark = pytest.mark.oracle


@dataclass(frozen=True)
class Readers:
    sarif: Callable[[object], object]
    junit: Callable[[str], list[tuple[str, str, str]]]


@pytest.fixture(scope="session")
def readers() -> Readers:
    try:
        from junitparser import JUnitXml
        from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Model
    except ImportError:
        lacks("junitparser or pydantic-sarif is not installed (make setup)")

    def cases(text: str) -> list[tuple[str, str, str]]:
        return [
            (suite.name, case.name, "".join(type(one).__name__ for one in case.result) or "Passed")
            for suite in JUnitXml.fromstring(text.encode())
            for case in suite
        ]

    return Readers(Model.model_validate, cases)


WORDS = {State.LOADS: "Passed", State.FAILS: "Failure", State.UNKNOWN: "Skipped", State.ERROR: "Error"}


def _told(cases: list[Case]) -> list[tuple[str, str, str]]:
    return [(case.kernel, case.program, WORDS[case.state]) for case in cases]


@pytest.mark.parametrize("cases", [[], ALL, ALL[:1], ALL[4:]], ids=["none", "all", "good", "open"])
def test_readers_see_what_there_is(readers: Readers, cases: list[Case]) -> None:
    readers.sarif(sarif(cases))
    assert readers.junit(junit(cases)) == _told(cases)


def test_the_reader_of_sarif_would_refuse(readers: Readers) -> None:
    document = sarif(ALL)
    document["runs"][0]["results"][0]["surplus"] = 1
    with pytest.raises(ValueError, match="surplus"):
        readers.sarif(document)


@pytest.mark.corpus
@pytest.mark.parametrize("form", ["sarif", "junit"])
def test_real_objects_on_real_kernels(
    readers: Readers, corpus: list[Path], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    import json

    some = [str(path) for path in corpus[::12]]
    status = run(["check", *some, "--kernel", "debian/*-cloud-amd64", "--format", form])
    out = capsys.readouterr().out
    assert status in (4, 12), "of so many objects some fail somewhere"
    if form == "sarif":
        readers.sarif(json.loads(out))
    else:
        assert len({kernel for kernel, _, _ in readers.junit(out)}) > 5
