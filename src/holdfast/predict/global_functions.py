# SPDX-License-Identifier: Apache-2.0
"""Global functions of a program: does the verifier take their prototypes."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.elf.spec import ProgramSpec
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.predict.relocated import Relocated
from holdfast.rules import global_functions
from holdfast.rules.ask import Allowed
from holdfast.terms import Evidence

__all__ = ["global_function_reasons"]


def global_function_reasons(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Reason]:
    """Global functions that are verified on this kernel and whose prototype it refuses."""
    btf = loaded.spec.btf
    if btf is None:
        return
    for part in program.parts[1:]:
        if not part.is_global or part.func_type_id is None:
            continue
        ruling = loaded.facts.rule(global_functions.accepted, btf, part.func_type_id, program.type)
        if ruling.allowed is Allowed.YES or part.start not in relocated.live:
            continue
        certain = ruling.allowed is Allowed.NO
        yield Reason(
            ReasonCode.INSTRUCTION_MISSING if certain else ReasonCode.INSTRUCTION_UNKNOWN,
            f"global function {part.name}",
            ruling.told,
            Stage.VERIFIER_WALK,
            Evidence.RULE,
            certain,
            program.source_at(part.start),
            "make it static, or __hidden" if certain else None,
        )
