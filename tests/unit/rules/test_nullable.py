# SPDX-License-Identifier: Apache-2.0
"""Arguments of tracepoints that may be null."""

from __future__ import annotations

import pytest
from tests.unit.rules.era import Era

from holdfast.rules.ask import Allowed, Sign
from holdfast.rules.nullable import tracepoint_argument

TABLE = (Sign.struct("bpf_raw_tp_null_args"),)


@pytest.mark.parametrize(
    ("tracepoint", "number", "era", "allowed"),
    [
        ("sched_pi_setprio", 1, Era(6, 13, extra=TABLE), Allowed.NO),
        ("sched_pi_setprio", 0, Era(6, 13, extra=TABLE), Allowed.YES),
        ("sched_pi_setprio", 1, Era(6, 12), Allowed.YES),  # before the stable update that brought the table
        ("sched_switch", 1, Era(7, 2, extra=TABLE), Allowed.YES),
        ("signal_deliver", 1, Era(7, 2, extra=TABLE), Allowed.YES),
        ("signal_deliver", 1, Era(7, 3, extra=TABLE), Allowed.NO),
    ],
)
def test_arguments_that_may_be_null(tracepoint: str, number: int, era: Era, allowed: Allowed) -> None:
    assert tracepoint_argument(tracepoint, number, era).allowed is allowed
