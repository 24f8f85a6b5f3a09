# SPDX-License-Identifier: Apache-2.0
"""BPF instructions: decode, encode, print."""

from __future__ import annotations

from holdfast.insn.instruction import INSN_SIZE, Instruction, decode, encode

__all__ = ["INSN_SIZE", "Instruction", "decode", "encode"]
