# SPDX-License-Identifier: Apache-2.0
"""Attach targets that must be there for the load, and those that only attaching asks for."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.elf.spec import ProgramSpec
from holdfast.kernels.answer import Answer
from holdfast.kernels.facts import KernelFacts
from holdfast.needs.model import AttachTargetNeed, TargetKind
from holdfast.needs.targets import attach_target
from holdfast.predict.codes import HazardCode, ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Hazard, Reason, Stage
from holdfast.terms import Evidence, ProgramType

__all__ = ["target_function", "target_hazards", "target_reasons"]


def target_reasons(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    """A BTF target that is not set or not there (``libbpf_find_attach_btf_id()``)."""
    need = attach_target(program)
    if need is None or not need.at_load or loaded.facts.vmlinux is None:
        return
    if need.target is None or need.target_kind is TargetKind.PROGRAM:
        what = "which program to replace" if need.target_kind is TargetKind.PROGRAM else "what to attach to"
        yield Reason(
            ReasonCode.TARGET_UNSET,
            need.name,
            f"the section does not say {what}, and libbpf does not load it before the application does",
            Stage.PREPARE_LOAD,
            Evidence.OBJECT,
            hint="call bpf_program__set_attach_target() before the load",
        )
        return
    answer = _found(loaded.facts, need)
    if answer.value is False:
        yield Reason(
            ReasonCode.TARGET_MISSING,
            need.name,
            answer.note,
            Stage.PREPARE_LOAD,
            answer.evidence,
            hint="offer another variant: the function may be inlined, renamed or its module not loaded",
        )


def _found(facts: KernelFacts, need: AttachTargetNeed) -> Answer:
    assert need.target is not None
    match need.target_kind:
        case TargetKind.TRACEPOINT_BTF:
            return facts.tracepoint_btf(need.target)
        case TargetKind.LSM_HOOK:
            return facts.has_func(f"bpf_lsm_{need.target}")
        case TargetKind.ITERATOR:
            return facts.has_func(f"bpf_iter_{need.target}")
        case _:
            return _function(facts, need)


def _function(facts: KernelFacts, need: AttachTargetNeed) -> Answer:
    """``find_kernel_btf_id()``: ``module:function`` looks into the modules whose names begin so."""
    assert need.target is not None
    if need.module is None or "vmlinux".startswith(need.module):
        found = facts.has_func(need.target)
        if found.value is not False or need.module is None:
            return found
    module = facts.module_function(need.module, need.target)
    if module is not None:
        return Answer(True, Evidence.BTF, f"{need.target} is in the BTF of {module}")
    return Answer(False, Evidence.BTF, f"{need.target} is in the BTF of no loaded module {need.module}*")


def target_function(program: ProgramSpec) -> str | None:
    """The kernel function behind a BTF target, as the rules for helpers name it (``bpf_lsm_file_open``)."""
    need = attach_target(program)
    if need is None or need.target is None or not need.at_load:
        return None
    prefix = {TargetKind.LSM_HOOK: "bpf_lsm_", TargetKind.ITERATOR: "bpf_iter_"}.get(need.target_kind, "")
    return prefix + need.target


def target_hazards(loaded: Loaded, program: ProgramSpec) -> Iterator[Hazard]:
    """Targets that are looked for when the program is attached: it loads without them."""
    yield from _unknown_attach_type(loaded, program)
    need = attach_target(program)
    if need is None or need.at_load or need.target is None or loaded.facts.vmlinux is None:
        return
    if need.target_kind is TargetKind.RAW_TRACEPOINT:
        answer = loaded.facts.tracepoint_btf(need.target)
    elif need.target_kind is TargetKind.KPROBE and need.target.isidentifier():
        answer = loaded.facts.symbol(need.target)
        if answer.value is None:
            answer = loaded.facts.has_func(need.target)
    else:
        return
    if answer.value is False:
        message = f"it loads, but attaching will fail: {answer.note}"
        yield Hazard(HazardCode.ATTACH_TARGET_MISSING, need.name, message, answer.evidence)


def _unknown_attach_type(loaded: Loaded, program: ProgramSpec) -> Iterator[Hazard]:
    """BPF_PROG_LOAD checks the attach types of some program types only; BPF_LINK_CREATE those of all."""
    if program.attach_type is None or program.type is ProgramType.STRUCT_OPS:
        return
    answer = loaded.facts.attach_type(program.attach_type)
    if answer.value is False:
        message = f"attaching it will fail: {answer.note}"
        name = f"attach type {program.attach_type.name}"
        yield Hazard(HazardCode.ATTACH_TARGET_MISSING, name, message, answer.evidence)
