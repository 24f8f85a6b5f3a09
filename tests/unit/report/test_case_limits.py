# SPDX-License-Identifier: Apache-2.0
"""Forms for code hosts with more in them than a code host takes, and bundles in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from tests.unit.report.test_case_forms import ALL, FAILS, LOADS, OPEN

from holdfast.predict.codes import ReasonCode
from holdfast.report.case_text import cases_matrix
from holdfast.report.cases import Case
from holdfast.report.code_text import code_text
from holdfast.report.markdown import MOST_CHARACTERS, markdown
from holdfast.report.sarif import MOST_RESULTS, sarif


def _tables(text: str) -> list[list[int]]:
    """For each table how many cells its rows have, as a parser that was not written here sees them."""
    found: list[list[int]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append(0)
        elif token.type in ("td_open", "th_open"):
            found[-1][-1] += 1
    return found


@pytest.mark.parametrize("count", [1, 6, 7, 30])
def test_a_table_has_a_column_for_each_kernel(count: int) -> None:
    kernels = [f"k/6.{number}|`*_" for number in range(count)]
    cases = [replace(case, kernel=kernel, program="a|b`c") for kernel in kernels for case in (FAILS, OPEN)]
    (cells,) = _tables(markdown(cases))
    assert set(cells) == {count + 1} and len(cells) == 2


def test_what_loads_everywhere_is_counted_where_there_is_much() -> None:
    many = [replace(LOADS, program=f"p{number}", kernel=kernel) for number in range(40) for kernel in "ab"]
    text = markdown([*many, FAILS])
    assert "40 programs more: loads on every kernel" in text and "`p7`" not in text
    assert "`bad`" in text
    assert "|" not in markdown(many)


def test_markdown_fits_a_comment_whatever_there_is() -> None:
    wordy = "no function " + "x" * 2000
    (reason,) = FAILS.reasons
    cases = [
        replace(FAILS, program=f"p{number}", reasons=(replace(reason, message=wordy),))  # type: ignore[type-var]
        for number in range(900)
    ]
    text = markdown(cases)
    assert len(text) <= MOST_CHARACTERS
    assert "and " in text.splitlines()[-1] and text.splitlines()[-1].endswith("more")
    _tables(text)


def test_one_finding_on_many_kernels_is_one_result() -> None:
    cases = [replace(FAILS, kernel=f"k/6.{number}") for number in range(30)]
    (result,) = sarif(cases)["runs"][0]["results"]
    assert result["properties"]["kernels"] == [case.kernel for case in cases]
    assert "k/6.7 and 22 more" in result["message"]["text"]
    again = sarif(cases[3:])["runs"][0]["results"][0]
    assert again["partialFingerprints"] == result["partialFingerprints"]


def test_other_findings_are_other_results() -> None:
    others = [
        FAILS,
        replace(FAILS, program="q"),
        replace(FAILS, object="b.o"),
        replace(FAILS, said=(), last="z"),
    ]
    assert len(sarif(others)["runs"][0]["results"]) == 4


def test_errors_come_first_and_no_more_than_are_shown() -> None:
    cases = [replace(OPEN, program=f"p{number}") for number in range(MOST_RESULTS + 5)]
    results = sarif([*cases, FAILS])["runs"][0]["results"]
    assert len(results) == MOST_RESULTS
    assert results[0]["level"] == "error" and results[1]["level"] == "warning"


@pytest.mark.parametrize(
    ("path", "uri"),
    [("d/a.o", "d/a.o"), ("/d/a b.o", "file:///d/a%20b.o"), ("c:x.o", "c%3Ax.o"), ("ä.o", "%C3%A4.o")],
)
def test_places_are_uri_references(path: str, uri: str) -> None:
    (result,) = sarif([Case(path, "p", "k", OPEN.predicted)])["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


@pytest.mark.parametrize("code", [*ReasonCode, "INFRASTRUCTURE", "NONE"])
def test_every_code_is_told(code: str) -> None:
    assert code_text(code).endswith(".") and "reasons.md" not in code_text(code)


def test_a_case_without_a_kernel_makes_no_table() -> None:
    assert not _tables(markdown([])) and list(cases_matrix([]))
    assert len(_tables(markdown(ALL))) == 1
