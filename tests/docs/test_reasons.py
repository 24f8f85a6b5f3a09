# SPDX-License-Identifier: Apache-2.0
"""docs/reasons.md tells all codes, stages and kinds of evidence, and tells them as they are given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.documents import ROOT, names, sections, table

from holdfast.elf import open_object
from holdfast.kernels.image import from_path
from holdfast.predict import HazardCode, Predictor, ReasonCode, Stage
from holdfast.terms import Evidence

DOCUMENT = "docs/reasons.md"
CODE = re.compile(r"[A-Z]+(_[A-Z]+)+|ASSUMED")
ENTRIES = {name: text for name, text in sections(DOCUMENT).items() if CODE.fullmatch(name)}
UNUSED = "Nothing gives it yet."


def _stages(entry: str) -> list[str]:
    line = next(line for line in entry.splitlines() if line.startswith("- Stage:"))
    return names(line.partition("Evidence:")[0])


def _evidence(entry: str) -> list[str]:
    line = next(line for line in entry.splitlines() if line.startswith("- Stage:"))
    return names(line.partition("Evidence:")[2])


def test_every_code_has_an_entry_and_no_entry_is_stale() -> None:
    assert set(ENTRIES) == {str(code) for code in ReasonCode} | {str(code) for code in HazardCode}


def test_every_entry_says_what_to_do() -> None:
    assert [name for name, entry in ENTRIES.items() if "- What to do: " not in entry] == []


def test_entries_say_which_codes_nothing_gives() -> None:
    files = [p for p in (ROOT / "src/holdfast/predict").glob("*.py") if p.name != "codes.py"]
    sources = [p.read_text() for p in (*files, ROOT / "src/holdfast/truth/loads.py")]
    given = set(re.findall(r"(?:ReasonCode|HazardCode)\.([A-Z_]+)", "\n".join(sources)))
    assert {name for name, entry in ENTRIES.items() if UNUSED in entry} == set(ENTRIES) - given


def test_the_stages_are_those_of_the_predictor_in_its_order() -> None:
    rows = [names(row[0])[0] for row in table(sections(DOCUMENT)["The stages"])]
    assert rows == [stage.name for stage in Stage]


def test_reasons_are_sorted_by_the_first_stage_that_gives_them() -> None:
    reasons = [name for name in ENTRIES if name in set(ReasonCode)]
    first = [Stage[_stages(ENTRIES[name])[0]] for name in reasons]
    assert first == sorted(first)


@pytest.mark.parametrize("document", [DOCUMENT, "README.md"])
def test_kinds_of_evidence_exist(document: str) -> None:
    heading = "The evidence" if document == DOCUMENT else "What a verdict rests on"
    rows = {names(row[0])[0] for row in table(sections(document)[heading])}
    assert rows <= {str(one) for one in Evidence}
    if document == DOCUMENT:
        assert rows == {str(one) for one in Evidence}


@pytest.mark.corpus
def test_reasons_on_real_objects_are_as_the_entries_tell(corpus: list[Path], kernel_btf: Path) -> None:
    predictor = Predictor(from_path(kernel_btf))
    seen = 0
    for path in corpus[::5]:
        for verdict in predictor.check(open_object(path)):
            for reason in verdict.reasons:
                entry = ENTRIES[reason.code]
                assert reason.stage.name in _stages(entry), reason
                assert str(reason.evidence) in _evidence(entry), reason
                assert reason.certain is not reason.code.endswith("_UNKNOWN"), reason
                seen += 1
    assert seen
