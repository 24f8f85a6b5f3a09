# SPDX-License-Identifier: Apache-2.0
"""Printed instructions against the running kernel's own: small programs with every opcode, and its verifier's
log.

The verifier prints an instruction before it judges it, so that a program that is refused for the very
instruction is as good a witness as one that loads.
"""

from __future__ import annotations

import re

import pytest

from holdfast.insn import Instruction, encode
from holdfast.insn.text import Names, listing
from holdfast.sys.progs import prog_load

pytestmark = [pytest.mark.oracle, pytest.mark.live]

SOCKET_FILTER = 1
LINE = re.compile(r"^(\d+): (\([0-9a-f]{2}\) .*?|BUG_\S+)(?:\s+; .*)?$")
BEFORE = (
    Instruction(0xBF, 6, 1, 0, 0),  # r6 = ctx, for LD_ABS
    Instruction(0x7A, 10, 0, -8, 0),  # something to load and to add to
    Instruction(0x7A, 10, 0, -16, 0),
    *(Instruction(0xB7, register, 0, 0, 3) for register in (0, 1, 2, 3, 4, 5, 7, 8, 9)),
)
AFTER = (Instruction(0xB7, 0, 0, 0, 0), Instruction(0x95, 0, 0, 0, 0))
HELPERS = {5: "bpf_ktime_get_ns", 7: "bpf_get_prandom_u32"}


def programs() -> dict[str, tuple[Instruction, ...]]:
    """What stands between BEFORE and AFTER, by a name for the failure message."""
    bodies: dict[str, tuple[Instruction, ...]] = {}

    def one(op: int, dst: int, src: int, off: int, imm: int) -> None:
        bodies[f"{op:02x} dst={dst} src={src} off={off} imm={imm:#x}"] = (
            Instruction(op, dst, src, off, imm),
        )

    for opclass in (0x04, 0x07):
        for operation in range(0x00, 0xD0, 0x10):
            if operation == 0x80:
                one(operation | opclass, 2, 0, 0, 0)
                continue
            for off in (0, 1) if operation in (0x30, 0x90) else (0,):
                for imm in (3, 0x1F) if operation in (0x60, 0x70, 0xC0) else (3, -3):
                    one(operation | opclass, 2, 0, off, imm)
                one(operation | opclass | 8, 2, 3, off, 0)
    for off in (8, 16, 32):
        one(0xBF, 2, 3, off, 0)
    for off in (8, 16):
        one(0xBC, 2, 3, off, 0)
    for imm in (1, 0x10000):
        one(0xBF, 2, 3, 1, imm)
    for op in (0xD4, 0xDC, 0xD7):
        for width in (16, 32, 64):
            one(op, 2, 0, 0, width)
    for operation in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0):
        for opclass in (0x05, 0x06):
            for imm in (3, -1):
                one(operation | opclass, 2, 0, 0, imm)
            one(operation | opclass | 8, 2, 3, 0, 0)
    for size in (0x00, 0x08, 0x10, 0x18):
        one(0x61 | size, 2, 10, -8, 0)
        one(0x62 | size, 10, 0, -8, -5)
        one(0x63 | size, 10, 3, -8, 0)
        if size != 0x18:
            one(0x81 | size, 2, 10, -8, 0)
            one(0x20 | size, 0, 0, 0, 4)
            one(0x40 | size, 0, 7, 0, 4)
        one(0xC3 | size, 2, 10, -8, 0x100)
        one(0xC3 | size, 10, 2, -8, 0x110)
    for size in (0x00, 0x18):
        for imm in (0x00, 0x40, 0x50, 0xA0, 0x01, 0x41, 0x51, 0xA1, 0xE1, 0xF1):
            one(0xC3 | size, 10, 2, -8, imm)
    one(0x05, 0, 0, 0, 0)
    one(0x06, 0, 0, 0, 0)
    one(0xE5, 0, 0, 0, 0)
    one(0x85, 0, 0, 0, 5)
    one(0x85, 0, 0, 0, 7)
    one(0x85, 0, 0, 0, 0x7FFF)
    bodies["lddw"] = (Instruction(0x18, 2, 0, 0, -2), Instruction(0, 0, 0, 0, 0x11223344))
    # The callee is the last two instructions, so that the caller returns by AFTER of its own.
    bodies["bpf2bpf"] = (Instruction(0x85, 0, 1, 0, 2), *AFTER)
    return bodies


def test_every_opcode_prints_as_in_the_kernels_log() -> None:
    compared = 0
    wrong: list[str] = []
    unseen: list[str] = []
    for name, body in programs().items():
        insns = BEFORE + body + AFTER
        answer = prog_load(SOCKET_FILTER, encode(insns), log_level=2)
        if answer.fd is not None:
            answer.fd.close()
        said = {int(m[1]): m[2] for m in map(LINE.match, answer.log.splitlines()) if m}
        ours = dict(listing(insns, Names(helper=HELPERS.get)))
        if len(BEFORE) not in said:
            unseen.append(f"{name}: {answer.log.strip().splitlines()[-1:]} errno {answer.errno}")
        for slot, line in said.items():
            compared += 1
            if ours.get(slot) != line:
                wrong.append(f"{name}: slot {slot}: kernel {line!r}, here {ours.get(slot)!r}")
    print(f"{compared} instructions of {len(programs())} programs compared with the verifier's log")
    assert not wrong, "\n".join(wrong[:20])
    # Refused before the first instruction is printed: by what this kernel does not know, never more than a
    # few.
    assert len(unseen) <= len(programs()) // 20, "\n".join(unseen)
    assert compared > 1000
