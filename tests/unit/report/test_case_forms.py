# SPDX-License-Identifier: Apache-2.0
"""Cases as JUnit, SARIF, Markdown and text."""

from __future__ import annotations

import json
import os
from xml.etree import ElementTree

from holdfast.predict.codes import ReasonCode
from holdfast.predict.model import ProgramVerdict, Reason, Stage
from holdfast.report.case_text import case_lines, cases_matrix, cases_summary, remark_lines
from holdfast.report.cases import Case, State, cases_of
from holdfast.report.junit import junit
from holdfast.report.markdown import markdown
from holdfast.report.sarif import sarif
from holdfast.terms import Evidence, ProgramType, Verdict

REASON = Reason(
    ReasonCode.KFUNC_MISSING,
    "bpf_<x>",
    "no function bpf_x",
    Stage.LOAD,
    Evidence.BTF,
    True,
    "a.c:12",
    "guard it",
)
LOADS = Case("d/a.o", "good", "k/6.1", Verdict.LOADS, loaded=True, tried=True, seconds=0.25, processed=7)
FAILS = Case(
    "d/a.o", "bad", "k/6.1", Verdict.FAILS, (REASON,), loaded=False, tried=True, errno=22,
    said=("\x1b[1mextern | 'bpf_x'", "processed 0 insns"), last="extern | 'bpf_x'",
)  # fmt: skip
SURPRISE = Case(
    "d/a.o", "refused", "k/6.1", Verdict.LOADS, loaded=False, tried=True, errno=13, stopped_at="b.c:3"
)
BETTER = Case("d/a.o", "better", "k/6.1", Verdict.FAILS, (REASON,), loaded=True, tried=True)
BROKEN = Case("d/a.o", "good", "k/6.12", Verdict.LOADS, tried=True, trouble="the guest is lost")
OPEN = Case("d/a.o", "open", "k/6.12", Verdict.UNKNOWN)
ALL = [LOADS, FAILS, SURPRISE, BETTER, BROKEN, OPEN]


def test_states_and_codes() -> None:
    assert [case.state.value for case in ALL] == ["loads", "fails", "fails", "loads", "error", "unknown"]
    assert [case.is_false for case in ALL] == [False, False, True, True, False, False]
    codes = [case.code for case in ALL[1:]]
    assert codes == ["KFUNC_MISSING", "LOAD_REFUSED", "KFUNC_MISSING", "INFRASTRUCTURE", "NONE"]
    assert (FAILS.source, SURPRISE.source) == ("a.c:12", "b.c:3")


def test_verdicts_become_cases() -> None:
    verdict = ProgramVerdict(
        "a.o", "0" * 64, "p", "tc", ProgramType.SCHED_CLS, "k", (1, 7), Verdict.FAILS, (REASON,), ()
    )
    (case,) = cases_of([verdict])
    assert case.state is State.FAILS and case.loaded is None and not case.is_false
    assert "predicted" not in case.line


def test_junit_is_xml_that_counts() -> None:
    root = ElementTree.fromstring(junit(ALL).partition("?>")[2])
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "6", "failures": "2", "errors": "1"
    }  # fmt: skip
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["k/6.1", "k/6.12"]
    failure = suites[0].find("testcase[@name='bad']/failure")
    assert failure is not None and failure.get("type") == "KFUNC_MISSING"
    assert failure.text is not None and "hint: guard it" in failure.text and "\x1b" not in failure.text
    assert suites[0].find("testcase[@name='better']/system-out") is not None
    assert ElementTree.fromstring(junit([]).partition("?>")[2]).get("tests") == "0"


def test_sarif_names_places_and_rules() -> None:
    document = sarif(ALL)
    json.dumps(document)
    (found,) = document["runs"]
    assert document["version"] == "2.1.0"
    rules = [rule["id"] for rule in found["tool"]["driver"]["rules"]]
    for result in found["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
    levels = [result["level"] for result in found["results"]]
    assert levels == ["error", "error", "warning", "warning", "warning"]
    place = found["results"][0]["locations"][0]
    assert place["physicalLocation"] == {"artifactLocation": {"uri": "a.c"}, "region": {"startLine": 12}}
    assert place["logicalLocations"][0]["fullyQualifiedName"] == "d/a.o:bad"
    assert found["results"][3]["locations"][0]["physicalLocation"] == {"artifactLocation": {"uri": "d/a.o"}}


def test_markdown_is_a_table_that_no_name_breaks() -> None:
    lines = markdown(ALL).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert rows[0] == "| program | k/6.1 | k/6.12 |"
    assert all(line.replace("\\|", "").count("|") == 4 for line in rows)
    assert "| a.o: `good` | loads | (error) |" in rows
    assert any("**FAILS** (predicted LOADS)" in line for line in rows)
    assert any("bpf\\_\\<x\\>" in line for line in lines)
    assert "2 verdicts of them predicted wrong" in lines


def test_text_fits_and_tells() -> None:
    lines = [*cases_matrix(ALL), *remark_lines(ALL), *case_lines(FAILS), *case_lines(BROKEN)]
    assert all(len(line) <= 100 for line in lines)
    assert max(map(len, (*cases_matrix(ALL, 50), *remark_lines(ALL, 50)))) <= 50
    cells = {line.split()[1]: line.split()[2:] for line in cases_matrix(ALL) if line.startswith("  a.o: ")}
    assert cells == {
        "good": ["++", "+!"],
        "bad": ["xx"],
        "refused": ["+x*"],
        "better": ["x+*"],
        "open": ["?"],
    }
    summary = cases_summary(ALL)
    assert summary == "6 loads: 2 loads, 2 fails, 1 unknown, 1 error; 2 of 4 verdicts right, 1 UNKNOWN"
    assert any("errno 22" in line for line in case_lines(FAILS))


def test_names_and_paths_of_anybody_do_no_harm() -> None:
    case = Case(
        os.fsdecode(b"d/p\xff.o"), "na\x1b[31mme", "k/6.1", Verdict.FAILS, loaded=False, tried=True,
        last="SEC(\x9b2J)",
    )  # fmt: skip
    text = markdown([case])
    assert "\x1b" not in text and "\x9b" not in text
    (result,) = sarif([case])["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "d/p%FF.o"
