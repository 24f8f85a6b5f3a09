# SPDX-License-Identifier: Apache-2.0
"""Live slots against the slots that the running kernel's verifier visits, on random programs.

The verifier's log at level 2 names every instruction that it walked over. None may be missing from
``live_slots()``; how many of ours it did not visit says how much merging paths costs.
"""

from __future__ import annotations

import random

import pytest
from tests.oracle.insn.test_verifier_log import LINE

from holdfast.insn import Instruction, encode
from holdfast.insn.live import live_slots
from holdfast.sys.progs import prog_load

pytestmark = [pytest.mark.oracle, pytest.mark.live]

PROGRAMS = 400
HEAD = tuple(Instruction(0xB7, register, 0, 0, register & 3) for register in (0, 1, 2, 3, 4, 5, 7, 8, 9))
SLOTS = (-8, -16, -24)
FRESH = tuple(Instruction(0x7A, 10, 0, off, 0) for off in SLOTS)
SAVED = (6, 7, 8, 9)
REGISTERS = (0, 6, 7, 8, 9)


def program(dice: random.Random) -> tuple[Instruction, ...]:
    """Constants, arithmetic, spills, random numbers and jumps forwards; always well-formed for the
    verifier."""
    body: list[Instruction] = [*HEAD, Instruction(0xB7, 6, 0, 0, 1), *FRESH]
    size = dice.randrange(10, 60)
    while len(body) < size + 20:
        kind = dice.randrange(12)
        dst, src = dice.choice(REGISTERS), dice.choice(REGISTERS)
        if kind < 3:
            body.append(Instruction(dice.choice((0xB7, 0xB4)), dst, 0, 0, dice.choice((0, 0, 1, 2, -1, 77))))
        elif kind == 3:
            op = dice.choice(
                (0x07, 0x17, 0x27, 0x47, 0x57, 0xA7, 0x04, 0x14, 0x54, 0xA4, 0x37, 0x97, 0x34, 0x94)
            )
            body.append(Instruction(op, dst, 0, 0, dice.choice((1, 2, 3, 7, 8, 0xFF))))
        elif kind == 4:
            op = dice.choice((0x67, 0x77, 0xC7, 0x64, 0x74, 0xC4))
            body.append(Instruction(op, dst, 0, 0, dice.choice((1, 8, 31))))
        elif kind == 5:
            op = dice.choice((0xBF, 0xBC, 0x0F, 0x1F, 0x4F, 0x5F, 0xAF, 0x0C, 0x1C, 0x5C))
            body.append(Instruction(op, dst, src, 0, 0))
        elif kind == 6:
            body.append(Instruction(0xBF, dst, src, dice.choice((8, 16, 32)), 0))
        elif kind == 7:
            body.append(Instruction(0x85, 0, 0, 0, 7))
        elif kind == 8:
            body.append(Instruction(0x7B, 10, src, dice.choice(SLOTS), 0))
        elif kind == 9:
            body.append(Instruction(0x79, dst, 10, dice.choice(SLOTS), 0))
        else:
            operation = dice.choice((0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0))
            op = operation | dice.choice((5, 6))
            ahead = dice.randrange(1, 8)
            if dice.randrange(4) == 0:
                body.append(Instruction(op | 8, dst, src, ahead, 0))
            else:
                body.append(Instruction(op, dst, 0, ahead, dice.choice((0, 0, 1, 2, -1, 77))))
    # Wherever a jump leads past the end there is still an end.
    body.extend(Instruction(0xB7, 0, 0, 0, 0) for _ in range(8))
    body.append(Instruction(0x95, 0, 0, 0, 0))
    return tuple(body)


def test_verifier_visits_nothing_that_is_not_live() -> None:
    dice = random.Random(20_260_101)
    visited = live = total = accepted = exact = 0
    for number in range(PROGRAMS):
        insns = program(dice)
        answer = prog_load(1, encode(insns), log_level=2, log_size=1 << 20)
        if answer.fd is not None:
            answer.fd.close()
        walked = {int(m[1]) for m in map(LINE.match, answer.log.splitlines()) if m}
        ours = live_slots(insns)
        listed = "\n".join(f"{slot}: {insn}" for slot, insn in enumerate(insns))
        assert walked <= ours, f"program {number}: {sorted(walked - ours)} in\n{listed}\n{answer.log}"
        total += len(insns)
        if answer.fd is not None:
            accepted += 1
            visited += len(walked)
            live += len(ours)
            exact += walked == ours
    print(
        f"{accepted} of {PROGRAMS} programs load, {total} instructions: the verifier visits {visited}, "
        f"{live} are live here, {exact} programs exactly alike"
    )
    assert accepted > PROGRAMS // 2
    assert visited > live * 9 // 10
