# SPDX-License-Identifier: Apache-2.0
"""A watched constant leads where the plain one leads, and so does any other that compares alike."""

from __future__ import annotations

from random import Random

import pytest
from tests.unit.insn.asm import EXIT, JUMPS, call, if_, lddw, ldx, mov, mov_reg, st, stx

from holdfast.insn import Instruction
from holdfast.insn.live import MapAddress, Reached, explore
from holdfast.insn.values import Watched, holds

W = 0x61  # BPF_LDX | BPF_MEM | BPF_W
VERSIONS = (0, 0x050A00, 0x060100, 0x060C5F, 0x070200)


class Watch:
    """One number, and what became of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: dict[tuple[int, int, int, bool], bool | None] = {}
        self.used = False

    def value(self) -> Watched:
        return Watched(self.number, 32, self.compared, self.use)

    def compared(self, op: int, other: int, bits: int, swapped: bool) -> None:
        self.asked[op, other, bits, swapped] = answer(self.number, op, other, bits, swapped)

    def use(self) -> None:
        self.used = True


def answer(number: int, op: int, other: int, bits: int, swapped: bool) -> bool | None:
    return holds(op, other, number, bits) if swapped else holds(op, number, other, bits)


def reach(insns: tuple[Instruction, ...], value: int | Watched) -> Reached:
    return explore(insns, {0: MapAddress(".kconfig", 0)}, read=lambda *_: value)


def some_program(random: Random) -> tuple[Instruction, ...]:
    """Loads the value to r6, moves and changes it here and there, and jumps forward by it."""
    size = random.randrange(4, 24)
    insns = [*lddw(1), ldx(6, 1, 0, W)]
    for left in range(size, 0, -1):
        register, other = random.choice((0, 2, 3, 6, 7)), random.choice((0, 2, 6, 7))
        insns.append(
            random.choice(
                (
                    mov(register, random.choice((0, 1, 0x60100))),
                    mov_reg(register, other),
                    if_(
                        register,
                        random.choice(tuple(JUMPS)),
                        random.choice(VERSIONS),
                        0,
                    )._replace(off=random.randrange(left)),
                    Instruction(
                        random.choice((0x2D, 0x1D, 0x5E, 0xAD)), register, other, random.randrange(left), 0
                    ),
                    Instruction(
                        random.choice((0x07, 0x57, 0x77, 0x04)), register, 0, 0, random.choice((0, 1, 8))
                    ),
                    Instruction(random.choice((0x0F, 0x5F, 0xBC)), register, other, 0, 0),
                    stx(10, -8, register, random.choice((0x63, 0x7B))),
                    ldx(register, 10, -8, random.choice((W, 0x79))),
                    st(10, -8, 0),
                    call(7),
                )
            )
        )
    return (*insns, EXIT)


@pytest.mark.parametrize("seed", range(0, 400, 100))
def test_a_watched_constant_leads_where_the_constant_leads(seed: int) -> None:
    for one in range(seed, seed + 100):
        insns = some_program(Random(one))
        watches = [Watch(number) for number in VERSIONS]
        found = [reach(insns, watch.value()) for watch in watches]
        for watch, reached in zip(watches, found, strict=True):
            assert reached == reach(insns, watch.number), (one, hex(watch.number))
            for other, there in zip(watches, found, strict=True):
                alike = all(answer(other.number, *what) == said for what, said in watch.asked.items())
                if alike and not watch.used:
                    assert there == reached, (one, hex(watch.number), hex(other.number))


def test_what_only_decides_jumps_is_not_used() -> None:
    watch = Watch(0x060C00)
    insns = (*lddw(1), ldx(6, 1, 0, W), if_(6, ">", 0x060100, 1), call(1), EXIT)
    assert 4 not in reach(insns, watch.value()).slots
    assert list(watch.asked.values()) == [True]
    assert not watch.used


def test_arithmetic_uses_the_number() -> None:
    watch = Watch(0x060C00)
    insns = (*lddw(1), ldx(6, 1, 0, W), Instruction(0x77, 6, 0, 0, 16), if_(6, "==", 6, 1), call(1), EXIT)
    assert 5 not in reach(insns, watch.value()).slots
    assert watch.used
