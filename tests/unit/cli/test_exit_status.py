# SPDX-License-Identifier: Apache-2.0
"""The bit field that shells see."""

from __future__ import annotations

import pytest

from holdfast.cli.exit_status import ExitStatus, status_of
from holdfast.terms import Verdict


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([], 0),
        ([Verdict.LOADS], 0),
        ([Verdict.LOADS, Verdict.FAILS], 4),
        ([Verdict.UNKNOWN, Verdict.UNKNOWN], 8),
        ([Verdict.FAILS, Verdict.LOADS, Verdict.UNKNOWN], 12),
    ],
)
def test_status_of(verdicts: list[Verdict], status: int) -> None:
    assert status_of(verdicts) == status


def test_bits_are_those_of_the_documents() -> None:
    assert {bit.name: bit.value for bit in ExitStatus} == {"ERROR": 1, "USAGE": 2, "FAILS": 4, "UNKNOWN": 8}
