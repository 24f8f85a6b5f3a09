# SPDX-License-Identifier: Apache-2.0
"""Short ways to make a relocation and resolve it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.btfwriter import BtfWriter

from holdfast.btf.ext import CoreRelo, CoreReloKind
from holdfast.insn import Instruction
from holdfast.relo import Relocator, Resolution, Target

__all__ = ["BYTE_OFF", "at", "mov", "resolved", "target_of"]

BYTE_OFF = CoreReloKind.FIELD_BYTE_OFFSET


def mov(imm: int) -> Instruction:
    """``r1 = imm``"""
    return Instruction(0xB7, 1, 0, 0, imm)


def target_of(kernel: BtfWriter, modules: Mapping[str, BtfWriter] | None = None) -> Target:
    return Target(kernel.btf("vmlinux"), {name: writer.btf(name) for name, writer in (modules or {}).items()})


def at(type_id: int, access: str, kind: CoreReloKind | int = BYTE_OFF) -> CoreRelo:
    return CoreRelo(0, type_id, access, kind)


def resolved(
    local: BtfWriter, kernel: BtfWriter | Target, relo: CoreRelo, insn: Instruction | None = None
) -> Resolution:
    """Resolve a relocation; without ``insn``, of a mov that holds what the compiler would have put there."""
    target = kernel if isinstance(kernel, Target) else target_of(kernel)
    relocator = Relocator(local.btf("object"), target)
    if insn is None:
        orig = relocator.resolve(relo, mov(0)).orig_value & 0xFFFFFFFF
        insn = mov((orig ^ 1 << 31) - (1 << 31))
    return relocator.restart().resolve(relo, insn)
