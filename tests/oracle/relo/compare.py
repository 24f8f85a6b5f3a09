# SPDX-License-Identifier: Apache-2.0
"""Hold a resolution against what libbpf said about the same relocation."""

from __future__ import annotations

import errno

from tests.oracle.relo.libbpflog import Said

from holdfast.insn import Instruction
from holdfast.relo import BAD_RELO, Resolution

__all__ = ["as_said"]

_UINT64 = (1 << 64) - 1
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_SPEC_BUF = 255  # libbpf cuts the text off at spec_buf[256]


def _number(insn: Instruction, following: Instruction | None) -> int:
    if insn.is_wide:
        upper = following.imm if following else 0
        return insn.imm & 0xFFFFFFFF | (upper & 0xFFFFFFFF) << 32
    return (insn.imm if insn.opcode & 0x07 in (4, 7) else insn.off) & _UINT64


def as_said(
    result: Resolution, insn: Instruction, following: Instruction | None, at: int, program: str
) -> Said:
    """What libbpf must have said when ``result`` is right; ``at`` is the instruction's number in its
    program.
    """
    said = Said(program, result.spec[:_SPEC_BUF], [str(spec)[:_SPEC_BUF] for spec in result.candidates])
    if result.error:
        said.failed = f"-{errno.errorcode[result.error.errno]}"
    elif result.poison:
        # the second slot first, as libbpf does
        said.poisoned = [at + 1, at] if insn.is_wide else [at]
        assert all(slot.imm == BAD_RELO for slot in result.patched)
    else:
        new = result.patched[0]
        said.patched = _number(insn, following), result.value
        if new.opcode != insn.opcode:
            said.mem_size = _SIZES[insn.opcode & 0x18], _SIZES[new.opcode & 0x18]
    return said
