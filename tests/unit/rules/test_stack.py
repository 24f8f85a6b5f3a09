# SPDX-License-Identifier: Apache-2.0
"""How much stack a chain of calls may use."""

from __future__ import annotations

import pytest
from tests.unit.rules.era import Era

from holdfast.rules.ask import Allowed, Sign
from holdfast.rules.stack import chain_accepted
from holdfast.terms import ProgramType

OWN = (Sign.member("bpf_subprog_info", "priv_stack_mode"),)
TC, KPROBE = ProgramType.SCHED_CLS, ProgramType.KPROBE


@pytest.mark.parametrize(
    ("depths", "kind", "era", "allowed"),
    [
        ((256, 256), TC, Era(5, 10), Allowed.YES),
        ((257, 256), TC, Era(6, 12), Allowed.NO),
        ((240, 240), TC, Era(6, 1), Allowed.YES),  # 512 in steps of 32
        ((240, 225, 1), TC, Era(6, 1), Allowed.NO),  # 544
        ((240, 225, 1), TC, Era(6, 8), Allowed.UNKNOWN),
        ((240, 225, 1), TC, Era(6, 12), Allowed.YES),
        ((400, 400), KPROBE, Era(6, 12), Allowed.NO),
        ((400, 400), KPROBE, Era(6, 13, extra=OWN), Allowed.YES),
        ((400, 400), TC, Era(6, 13, extra=OWN), Allowed.NO),
        ((8,) * 8, TC, Era(5, 10), Allowed.YES),
        ((8,) * 9, TC, Era(7, 1), Allowed.NO),
        ((8,) * 9, TC, Era(7, 2), Allowed.YES),
        ((8,) * 17, TC, Era(7, 2), Allowed.NO),
    ],
)
def test_chains_of_calls(depths: tuple[int, ...], kind: ProgramType, era: Era, allowed: Allowed) -> None:
    assert chain_accepted(depths, kind, era).allowed is allowed
