# SPDX-License-Identifier: Apache-2.0
"""A call of a kfunc: is it there, may this program call it, and what do its flags ask for.

``check_kfunc_call()`` and ``fetch_kfunc_meta()`` of kernel/bpf/verifier.c, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.btf import essential_name
from holdfast.elf.spec import ProgramSpec, ReferenceKind
from holdfast.insn.flow import callee, function_starts
from holdfast.insn.instruction import LD_IMM64, Instruction
from holdfast.kernels.facts import KernelFacts
from holdfast.needs.licenses import is_gpl_compatible
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.terms import Evidence

__all__ = ["kfunc_reasons", "module_hint"]

_RUN_SLEEPABLE: Final = ("bpf_wq_set_callback", "bpf_task_work_schedule")
"""kfuncs whose callback may sleep whatever the program may (``in_sleepable()``, 81f1d7a583fa, 6.10)."""

_CAPABILITIES: Final = {
    "DESTRUCTIVE": "CAP_SYS_BOOT",  # check_kfunc_call(), 4dd48c6f1f83, 6.1
    "PERFMON": "CAP_PERFMON",  # 7.3
}


def kfunc_reasons(
    loaded: Loaded, program: ProgramSpec, insns: Sequence[Instruction], name: str, slot: int
) -> Iterator[Reason]:
    """Why the call of kfunc ``name`` at ``slot`` is refused, if libbpf gets as far as the verifier."""
    found = loaded.ksyms.get(name)
    need = f"kfunc {name}"
    if found is None or found.error is not None:
        return  # said at an earlier stage: the object does not get here
    if found.found is not True:
        message = f"its call is not guarded: {found.reason or 'the kernel does not have it'}"
        code = ReasonCode.KFUNC_INCOMPATIBLE if found.actual else ReasonCode.KFUNC_MISSING
        hint = module_hint(loaded.facts, name) or "guard the call by bpf_ksym_exists()"
        yield _reason(code, need, message, Evidence.BTF, hint=hint)
        return
    if not is_gpl_compatible(loaded.spec.license):
        message = (
            f"kfuncs are for GPL-compatible programs, and the object's license is {loaded.spec.license!r}"
        )
        yield _reason(ReasonCode.LICENSE_REFUSED, need, message, Evidence.RULE)
    real = essential_name(name if loaded.facts.function(name) else found.name)
    answer = loaded.facts.kfunc_callable(real, program.type, program.attach_type, program.sleepable)
    if answer.value is False:
        message = f"a {program.type.name} program may not call it: {answer.note}"
        yield _reason(ReasonCode.KFUNC_NOT_ALLOWED, need, message, answer.evidence)
    elif answer.value is None:
        message = f"whether a {program.type.name} program may call it cannot be told: {answer.note}"
        hint = "check the running kernel as root: a probe tells"
        yield _reason(ReasonCode.KFUNC_UNKNOWN, need, message, answer.evidence, certain=False, hint=hint)
    if answer.value is not False:
        yield from _flags(loaded, program, insns, real, slot)


def module_hint(facts: KernelFacts, name: str) -> str | None:
    """What to do about a kfunc that a module has which does not count as loaded; None where none has it."""
    module = facts.unloaded_module_with(essential_name(name))
    return None if module is None else f"load module {module}, which has it"


def _flags(
    loaded: Loaded, program: ProgramSpec, insns: Sequence[Instruction], real: str, slot: int
) -> Iterator[Reason]:
    flags = loaded.facts.kfunc_flags(real, program.type)
    if flags is None:
        return
    need = f"kfunc {real}"
    for flag, capability in _CAPABILITIES.items():
        if flag in flags and loaded.kernel.ask.capability(capability) is False:
            message = f"it has KF_{flag}: the loader needs {capability}, which this process has not"
            hint = f"add {capability}"
            yield _reason(ReasonCode.CAPABILITY_MISSING, need, message, Evidence.BTF_IDS, hint=hint)
    if "SLEEPABLE" in flags and not program.sleepable:
        certain = not _may_run_sleepable(program, insns, slot)
        message = f"it may sleep (KF_SLEEPABLE), and program {program.name} may not"
        if not certain:
            message += "; its callback may, where a work queue runs it"
        code = ReasonCode.SLEEPABLE_REFUSED if certain else ReasonCode.SLEEPABLE_UNKNOWN
        hint = "make the program sleepable (a section with .s), or call it from a bpf_wq callback"
        yield _reason(code, need, message, Evidence.BTF_IDS, certain=certain, hint=hint)


def _may_run_sleepable(program: ProgramSpec, insns: Sequence[Instruction], slot: int) -> bool:
    """Whether ``slot`` is in a function that only callbacks reach, in a program with a sleepable one."""
    called = {r.name for r in program.references if r.kind is ReferenceKind.KFUNC_CALL}
    if not any(name.startswith(_RUN_SLEEPABLE) for name in called):
        return False
    starts = function_starts(insns)
    entered = {0, *(part.start for part in program.parts if part.is_global)}
    todo = list(entered)
    while todo:
        start = todo.pop()
        end = min((one for one in starts if one > start), default=len(insns))
        if start <= slot < end:
            return False
        for at in range(start, end):
            target = callee(insns, at)
            if target is not None and insns[at].opcode != LD_IMM64 and target not in entered:
                entered.add(target)
                todo.append(target)
    return True


def _reason(
    code: ReasonCode,
    need: str,
    message: str,
    evidence: Evidence,
    *,
    certain: bool = True,
    hint: str | None = None,
) -> Reason:
    return Reason(code, need, message, Stage.VERIFIER_WALK, evidence, certain, None, hint)
