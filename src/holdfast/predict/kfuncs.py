# SPDX-License-Identifier: Apache-2.0
"""A call of a kfunc: is it there, may this program call it, and what do its flags ask for.

``bpf_add_kfunc_call()``, ``check_kfunc_call()`` and ``fetch_kfunc_meta()`` of kernel/bpf/verifier.c, in their
order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.btf import essential_name
from holdfast.elf.spec import ProgramSpec, ReferenceKind
from holdfast.insn.flow import callee, function_starts
from holdfast.insn.instruction import CALL, LD_IMM64, Instruction
from holdfast.kernels.facts import Answer, KernelFacts
from holdfast.needs.licenses import is_gpl_compatible
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import LIBBPF_FLAVORED_KFUNCS, Loaded
from holdfast.predict.model import Reason, Stage, walk_reason
from holdfast.predict.relocated import Relocated
from holdfast.predict.struct_ops import member_of
from holdfast.predict.targets import target_function
from holdfast.rules.ask import Ask
from holdfast.rules.eras import since
from holdfast.terms import Evidence, ProgramType

__all__ = ["added_reasons", "kfunc_reasons", "module_hint"]

_RUN_SLEEPABLE: Final = ("bpf_wq_set_callback", "bpf_task_work_schedule")
"""kfuncs whose callback may sleep whatever the program may (``in_sleepable()``, 81f1d7a583fa, 6.10)."""

_DEVICE_BOUND: Final = "bpf_xdp_metadata_rx_"
"""How the kfuncs of ``xdp_metadata_kfunc_ids`` are called (XDP_METADATA_KFUNC_xxx in include/net/xdp.h,
3d76a4d3d4e5, 6.3; trees 6.12 to 7.3)."""

_RCU_LOCK: Final = "bpf_rcu_read_lock"

_CAPABILITIES: Final = {
    "DESTRUCTIVE": "CAP_SYS_BOOT",  # check_kfunc_call(), 4dd48c6f1f83, 6.1
    "PERFMON": "CAP_PERFMON",  # 7.3
}


def added_reasons(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Reason]:
    """Why calls of kfuncs are refused wherever they stand, before the verifier's walk.

    A kfunc with KF_IMPLICIT_ARGS (7.0) has its real prototype in FUNC ``<name>_impl``, which resolve_btfids
    makes; without it ``find_kfunc_impl_proto()`` gives up. Debian's 7.1 and 7.2 lack it for kfuncs that
    pahole has not tagged, most of ``scx_bpf_*``.
    """
    seen: set[str] = set()
    for reference in program.references:
        name = reference.name
        if reference.kind is not ReferenceKind.KFUNC_CALL or name in seen:
            continue
        found = loaded.ksyms.get(name)
        if found is None or found.found is not True or reference.slot in relocated.poisons:
            continue
        seen.add(name)
        real = _real_name(loaded, name)
        if real.startswith(_DEVICE_BOUND):
            yield Reason(
                ReasonCode.KFUNC_NOT_ALLOWED,
                f"kfunc {real}",
                "only a program that is bound to a device may call it, and the object binds it to none "
                "(bpf_dev_bound_kfunc_check)",
                Stage.VERIFIER,
                Evidence.RULE,
                True,
                program.source_at(reference.slot),
                "set BPF_F_XDP_DEV_BOUND_ONLY (bpf_program__set_flags()) and the interface "
                "(bpf_program__set_ifindex()) before the load",
            )
        if _lacks_implementation(loaded, program, real):
            yield Reason(
                ReasonCode.KFUNC_NOT_ALLOWED,
                f"kfunc {real}",
                f"no program may call it: it has KF_IMPLICIT_ARGS, and BTF lacks the function {real}_impl "
                "that tells its arguments (find_kfunc_impl_proto)",
                Stage.VERIFIER,
                Evidence.BTF,
                True,
                program.source_at(reference.slot),
                "offer a variant without it: a guard does not help, dead calls are looked at too",
            )


def _lacks_implementation(loaded: Loaded, program: ProgramSpec, real: str) -> bool:
    flags = loaded.facts.kfunc_flags(real, program.type)
    if flags is None or "IMPLICIT_ARGS" not in flags or _callable(loaded, program, real).value is False:
        return False  # flags count only where the set is registered for the type
    own, place = loaded.facts.function(real), loaded.facts.function(f"{real}_impl")
    return own is not None and (place is None or place.module not in (None, own.module))


def _real_name(loaded: Loaded, name: str) -> str:
    """The name under which libbpf looks for it in the kernel."""
    return essential_name(name) if loaded.kernel.libbpf >= LIBBPF_FLAVORED_KFUNCS else name


def _callable(loaded: Loaded, program: ProgramSpec, real: str) -> Answer:
    kind = (program.type, program.attach_type, program.sleepable)
    target = target_function(program) if program.type is ProgramType.LSM else None
    return loaded.facts.kfunc_callable(real, *kind, member_of(loaded.spec, program), target)


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
        yield walk_reason(code, need, message, Evidence.BTF, hint=hint)
        return
    if not is_gpl_compatible(loaded.spec.license):
        message = (
            f"kfuncs are for GPL-compatible programs, and the object's license is {loaded.spec.license!r}"
        )
        yield walk_reason(ReasonCode.LICENSE_REFUSED, need, message, Evidence.RULE)
    real = _real_name(loaded, name)
    answer = _callable(loaded, program, real)
    if answer.value is False:
        message = f"a {program.type.name} program may not call it: {answer.note}"
        yield walk_reason(ReasonCode.KFUNC_NOT_ALLOWED, need, message, answer.evidence)
    elif answer.value is None:
        message = f"whether a {program.type.name} program may call it cannot be told: {answer.note}"
        hint = "check the running kernel as root: a probe tells"
        if program.type is ProgramType.EXT:
            hint = "check a program of the type that it is to replace"
        yield walk_reason(ReasonCode.KFUNC_UNKNOWN, need, message, answer.evidence, certain=False, hint=hint)
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
            yield walk_reason(ReasonCode.CAPABILITY_MISSING, need, message, Evidence.BTF_IDS, hint=hint)
    if (
        "RCU_PROTECTED" in flags
        and program.sleepable
        and not _locks(program)
        and loaded.facts.rule(_since, (6, 18))
    ):
        # in_rcu_cs(): a program that cannot sleep is in one; bpf_spin_lock() counts, too. The trees up to
        # 6.12 check nothing at the call, that of 6.18 does.
        message = "it is called within an RCU section alone (KF_RCU_PROTECTED), and the program opens none"
        hint = "call bpf_rcu_read_lock() before it"
        yield walk_reason(ReasonCode.KFUNC_NOT_ALLOWED, need, message, Evidence.BTF_IDS, hint=hint)
    if "SLEEPABLE" in flags and not program.sleepable:
        if _runs_sleepable(program, insns, slot):
            return
        certain = not _may_run_sleepable(program, insns, slot)
        message = f"it may sleep (KF_SLEEPABLE), and program {program.name} may not"
        if not certain:
            message += "; its callback may, where a work queue runs it"
        code = ReasonCode.SLEEPABLE_REFUSED if certain else ReasonCode.SLEEPABLE_UNKNOWN
        hint = "make the program sleepable (a section with .s), or call it from a bpf_wq callback"
        yield walk_reason(code, need, message, Evidence.BTF_IDS, certain=certain, hint=hint)


def _since(release: tuple[int, int], ask: Ask) -> bool | None:
    return since(ask, release)


def _locks(program: ProgramSpec) -> bool:
    """Whether the program calls anything that may open an RCU section, or hold a lock."""
    calls = {r.name for r in program.references if r.kind is ReferenceKind.KFUNC_CALL}
    held = {93}  # bpf_spin_lock
    return any(essential_name(name).startswith((_RCU_LOCK, "bpf_res_spin_lock")) for name in calls) or any(
        insn.is_helper_call and insn.imm in held for insn in program.insns
    )


def _runs_sleepable(program: ProgramSpec, insns: Sequence[Instruction], slot: int) -> bool:
    """Whether ``slot`` is in a function whose address goes to what runs it where it may sleep, and nowhere
    else: to the next call after the address was taken.
    """
    kfuncs = {r.slot: r.name for r in program.references if r.kind is ReferenceKind.KFUNC_CALL}
    function = max(start for start in function_starts(insns) if start <= slot)
    taken = []
    for at, insn in enumerate(insns):
        if callee(insns, at) != function:
            continue
        if insn.opcode != LD_IMM64:
            return False
        user = next((one for one in range(at, len(insns)) if insns[one].opcode == CALL), -1)
        taken.append(kfuncs.get(user, "").startswith(_RUN_SLEEPABLE))
    return bool(taken) and all(taken)


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
