# SPDX-License-Identifier: Apache-2.0
"""Verdicts as text: bars, tables, widths, whatever the names are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.predict import Hazard, HazardCode, ProgramVerdict, Reason, ReasonCode, Stage
from holdfast.report.text import WIDTH, matrix_lines, summary_line, verdict_lines
from holdfast.terms import Evidence, ProgramType, Verdict

SIGNS = {Verdict.LOADS: "+", Verdict.FAILS: "x", Verdict.UNKNOWN: "?"}
words = st.text("abc_ -:/", min_size=1, max_size=60)


def verdict(
    kind: Verdict, program: str = "prog", kernel: str = "file/6.1", reasons: tuple[Reason, ...] = ()
) -> ProgramVerdict:
    hazard = Hazard(HazardCode.ASSUMED, "helper x", "a message " * 30, Evidence.RULE)
    return ProgramVerdict(
        "folder/object.bpf.o",
        "0" * 64,
        program,
        "tc",
        ProgramType.SCHED_CLS,
        kernel,
        (1, 7),
        kind,
        reasons,
        (hazard,),
    )


def reason(
    need: str = "helper x", message: str = "m", hint: str | None = None, source: str | None = None
) -> Reason:
    return Reason(
        ReasonCode.HELPER_MISSING, need, message, Stage.VERIFIER_WALK, Evidence.BTF, True, source, hint
    )


@given(st.tuples(st.integers(0, 300), st.integers(0, 3), st.integers(0, 3)))
def test_the_bar_is_full_and_shows_every_kind(counts: tuple[int, int, int]) -> None:
    rows = [verdict(kind) for kind, count in zip(Verdict, counts, strict=True) for _ in range(count)]
    line = summary_line(rows, bar=40)
    bar = line[1:41]
    assert line[0] + line[41] == "[]"
    assert set(bar.strip()) == {SIGNS[kind] for kind, count in zip(Verdict, counts, strict=True) if count}
    assert " " not in bar or not rows
    for kind, count in zip(Verdict, counts, strict=True):
        assert (f"{count} {kind.value}" in line) == bool(count)


def test_nothing_to_sum_up() -> None:
    assert summary_line([]) == f"[{' ' * 40}] no programs"


def test_a_verdict_and_its_reasons() -> None:
    rows = (reason("helper bpf_loop", "it is not there", "take another", "a.c:3"), reason("helper other"))
    assert list(verdict_lines(verdict(Verdict.FAILS, reasons=rows))) == [
        "  x FAILS   prog  (SCHED_CLS, SEC(tc))",
        "            HELPER_MISSING  helper bpf_loop [a.c:3]: it is not there (evidence: btf)",
        "              hint: take another",
        "            and 1 more reason (--verbose)",
    ]
    verbose = list(verdict_lines(verdict(Verdict.FAILS, reasons=rows), verbose=True))
    assert any(line.startswith("            HELPER_MISSING  helper other: m") for line in verbose)
    assert any(line.startswith("            hazard ASSUMED  helper x: a message") for line in verbose)


@given(words, words, st.none() | words)
def test_lines_fit(need: str, message: str, hint: str | None) -> None:
    rows = (reason(need, f"{message} " * 8, hint, "file.c:10"),)
    for line in verdict_lines(verdict(Verdict.FAILS, reasons=rows), verbose=True):
        # a word is never broken, so that it can be copied
        assert len(line) <= WIDTH or len(max(line.split(), key=len)) > 60


@given(st.integers(1, 40))
def test_a_table_for_any_number_of_kernels(kernels: int) -> None:
    rows = [
        verdict(kind, program, f"file/6.{number}")
        for number in range(kernels)
        for program, kind in (("one", Verdict.LOADS), ("a_program_with_a_long_name" * 5, Verdict.UNKNOWN))
    ]
    lines = list(matrix_lines(rows))
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[0].split() == ["1", "file/6.0"]
    table = "\n".join(lines[kernels:])
    assert table.count("+") == kernels
    assert table.count("?") == kernels
    assert [
        int(n) for line in lines[kernels:] if not line.strip(" 0123456789") for n in line.split()
    ] == list(range(1, kernels + 1))
