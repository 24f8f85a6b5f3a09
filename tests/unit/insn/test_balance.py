# SPDX-License-Identifier: Apache-2.0
"""Depths of sections: the least of all ways, functions walked with their callers."""

from __future__ import annotations

from tests.elfwriter import insn

from holdfast.insn import decode
from holdfast.insn.balance import depths, follows

ENTER, LEAVE = (1,), (-1,)
NOP, EXIT = insn(0xB7), insn(0x95)
SKIP = insn(0x15, 1, 0, 1)  # if r1 == 0 goto +1


def test_what_one_way_leaves_is_left_at_the_exit() -> None:
    insns = decode(SKIP + NOP + EXIT)
    found = depths(insns, {1: ENTER}, 1, ())
    assert found is not None
    assert found.exits == {2: (0,)}
    assert found.at[1] == (0,)


def test_what_no_way_leaves_is_not() -> None:
    insns = decode(NOP + SKIP + NOP + EXIT)
    found = depths(insns, {0: ENTER, 2: ENTER}, 1, ())
    assert found is not None
    assert found.exits == {3: (1,)}


def test_a_static_function_leaves_for_its_caller() -> None:
    call = insn(0x85, 0, 1, 0, 1)  # the function behind the exit
    insns = decode(NOP + call + EXIT + NOP + EXIT)
    steps = {0: ENTER, 3: LEAVE}
    walked, passed = depths(insns, steps, 1, {3}), depths(insns, steps, 1, ())
    assert walked is not None and walked.exits == {2: (0,)}
    assert passed is not None and passed.exits == {2: (1,)}


def test_loops_end() -> None:
    back = insn(0x15, 1, 0, -2)  # to the slot before
    found = depths(decode(NOP + back + EXIT), {0: ENTER}, 1, ())
    assert found is not None
    assert found.exits == {2: (1,)}


def test_what_follows_a_call_of_another_function_is_everything() -> None:
    call = insn(0x85, 0, 1, 0, 1)
    insns = decode(NOP + call + EXIT + NOP + EXIT)
    assert follows(insns, 1, 0, 3) == {2}
    assert follows(insns, 0, 0, 3) == {1, 2, 3, 4}
