# SPDX-License-Identifier: Apache-2.0
"""Cases as JUnit XML, the form that CI services read: a suite for each kernel, a test case for each program.

A program that fails is a failure, one that could not be tried an error, one that cannot be told is skipped;
a wrong prediction about a program that loads is told in its ``system-out``. There is no standard; this is
what the schema of Jenkins' xUnit plugin (junit-10.xsd) has, which other readers take as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from holdfast.report.cases import Case, State

__all__ = ["junit"]

# XML 1.0, section 2.2: characters that no document may hold, not even escaped
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(cases: Sequence[Case]) -> str:
    """Return the document as text."""
    counts = _counts(cases)
    del counts["skipped"]  # the schema has it for a suite alone
    root = ElementTree.Element("testsuites", {"name": "holdfast", **counts})
    for kernel in dict.fromkeys(case.kernel for case in cases):
        mine = [case for case in cases if case.kernel == kernel]
        suite = ElementTree.SubElement(root, "testsuite", {"name": _legal(kernel), **_counts(mine)})
        for case in mine:
            _case(suite, case)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    states = [case.state for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(states.count(State.FAILS)),
        "errors": str(states.count(State.ERROR)),
        "skipped": str(states.count(State.UNKNOWN)),
        "time": f"{sum(case.seconds or 0 for case in cases):.3f}",
    }


def _case(suite: ElementTree.Element, case: Case) -> None:
    element = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_legal(f"{case.kernel}.{case.object}"),
        name=_legal(case.program),
        time=f"{case.seconds or 0:.3f}",
    )
    tags = {State.FAILS: "failure", State.ERROR: "error", State.UNKNOWN: "skipped"}
    tag = tags.get(case.state)
    if tag is not None:
        told = ElementTree.SubElement(element, tag, message=_legal(case.line))
        if tag != "skipped":
            told.set("type", case.code)
        told.text = _legal("\n".join(_details(case)))
    elif case.is_false:
        ElementTree.SubElement(element, "system-out").text = _legal(case.line)


def _details(case: Case) -> list[str]:
    lines = []
    for reason in case.reasons:
        where = f" [{reason.source}]" if reason.source else ""
        lines.append(f"{reason.code} {reason.need}{where}: {reason.message}")
        if reason.hint:
            lines.append(f"  hint: {reason.hint}")
    return [*lines, *case.said]


def _legal(text: str) -> str:
    return _ILLEGAL.sub("�", text)
