# SPDX-License-Identifier: Apache-2.0
"""Instructions that this kernel may not know: the verifier refuses them wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.elf.spec import ProgramSpec, ReferenceKind
from holdfast.insn.features import FEATURES, InsnFeature, first_slots
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.predict.questions import THIS_ARCH
from holdfast.predict.relocated import Relocated
from holdfast.rules import instructions
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.terms import Evidence

__all__ = ["MAX_INSNS", "instruction_reasons"]

MAX_INSNS: Final = 1_000_000
"""BPF_COMPLEXITY_LIMIT_INSNS since v5.2, for a loader with CAP_BPF."""
_TAIL_CALL: Final = 12  # helper bpf_tail_call


def instruction_reasons(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Reason]:
    """Features of the stream that the kernel lacks, or of which it cannot be told."""
    if len(relocated.insns) > MAX_INSNS:
        yield Reason(
            ReasonCode.TOO_LARGE,
            "size",
            f"{len(relocated.insns)} instructions, and no kernel takes more than {MAX_INSNS}",
            Stage.LOAD,  # E2BIG, before the verifier
            Evidence.RULE,
        )
    # A poisoned instruction counts as what libbpf makes of it: the call of a helper that nobody has. So does
    # the call of a kfunc that is weak and absent (bpf_object__relocate_data).
    absent = set()
    for reference in program.references:
        if reference.kind is ReferenceKind.KFUNC_CALL:
            ksym = loaded.ksyms.get(reference.name)
            if ksym is not None and ksym.absent:
                absent.add(reference.slot)
    count = len(relocated.insns)
    where = relocated.remember(
        ("features", frozenset(absent)),
        lambda: first_slots(
            relocated.insns, (slot for slot in range(count) if slot not in absent) if absent else None
        ),
    )
    for feature, slot in where.items():
        ruling = _ruling(loaded, program, feature)
        if ruling.allowed is not Allowed.YES:
            source = program.source_at(slot)
            yield _reason(f"instruction {feature.value}", ruling, source, FEATURES[feature].isa)
    if InsnFeature.BPF2BPF in where and _calls_tail(relocated):
        ruling = loaded.facts.work(_tail_calls, _jit(loaded))
        if ruling.allowed is not Allowed.YES:
            yield _reason("tail calls with subprograms", ruling, None)


def _tail_calls(facts: KernelFacts, ask: Ask, jit: bool | None) -> Ruling:
    return instructions.tail_calls_with_subprograms(ask, arch=facts.arch, jit=jit)


def _calls_tail(relocated: Relocated) -> bool:
    return any(insn.is_helper_call and insn.imm == _TAIL_CALL for insn in relocated.insns)


def _ruling(loaded: Loaded, program: ProgramSpec, feature: InsnFeature) -> Ruling:
    ruling = loaded.facts.rule(instructions.accepted, feature, arch=THIS_ARCH, jit=_jit(loaded))
    if feature is InsnFeature.LD_ABS and ruling.allowed is Allowed.YES:
        return instructions.ld_abs_accepted(program.type)
    return ruling


def _jit(loaded: Loaded) -> bool | None:
    host = loaded.facts.host
    return None if host is None or host.bpf_jit_enable is None else host.bpf_jit_enable > 0


def _reason(need: str, ruling: Ruling, source: str | None, isa: int = 1) -> Reason:
    certain = ruling.allowed is Allowed.NO
    code = ReasonCode.INSTRUCTION_MISSING if certain else ReasonCode.INSTRUCTION_UNKNOWN
    hint = "compile a variant with a lower -mcpu" if certain and isa > 1 else None
    message = ruling.told
    return Reason(code, need, message, Stage.VERIFIER, Evidence.RULE, certain, source, hint)
