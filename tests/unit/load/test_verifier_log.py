# SPDX-License-Identifier: Apache-2.0
"""Logs as kernels printed them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.load import VerifierLog

WITH_SOURCE = """0: R1=ctx() R10=fp0
; return *(int *)(long)bpf_get_prandom_u32(); @ broken.bpf.c:12
0: (85) call bpf_get_prandom_u32#7    ; R0_w=scalar()
1: (61) r0 = *(u32 *)(r0 +0)
R0 invalid mem access 'scalar'
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def test_error_place_and_count() -> None:
    log = VerifierLog.parse(WITH_SOURCE)
    assert log.error == "R0 invalid mem access 'scalar'"
    assert log.source == "broken.bpf.c:12"
    assert log.insn == 1
    assert log.processed_insns == 2


def test_source_line_of_older_kernels_names_no_file() -> None:
    log = VerifierLog.parse("; int x = 1;\n0: (b7) r0 = 1\nsomething is wrong\n")
    assert (log.error, log.source, log.processed_insns) == ("something is wrong", None, None)


@pytest.mark.parametrize(
    "text",
    [
        "0: R1=ctx() R10=fp0\n0: (95) exit\nprocessed 1 insns (limit 1000000)\n",
        "from 3 to 5: R0=1\n",
        "processed 0 insns (limit 1000000)\nverification time 4 usec\nstack depth 0\n",
        "",
    ],
)
def test_a_log_without_an_error_gives_none(text: str) -> None:
    assert VerifierLog.parse(text).error is None


def test_tail_keeps_the_end_without_statistics() -> None:
    tail = VerifierLog.parse(WITH_SOURCE).tail(2)
    assert tail.splitlines() == ["1: (61) r0 = *(u32 *)(r0 +0)", "R0 invalid mem access 'scalar'"]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    log = VerifierLog.parse(text)
    assert log.error is None or log.error.strip() == log.error
    assert len(log.tail(3).splitlines()) <= 3 * (1 + text.count("\x0b") + text.count("\x0c"))
