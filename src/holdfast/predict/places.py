# SPDX-License-Identifier: Apache-2.0
"""Whether the verifier lets a program of this kind attach to the target that was found in BTF."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.btf.types import Kind
from holdfast.elf.spec import ProgramSpec
from holdfast.kernels.facts import KernelFacts
from holdfast.needs.model import AttachTargetNeed, TargetKind
from holdfast.needs.targets import attach_target
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.predict.questions import THIS_ARCH
from holdfast.rules import fentry, lsm_hooks
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.terms import AttachType, Evidence

__all__ = ["place_reasons"]


def place_reasons(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    """What ``bpf_check_attach_target()`` and ``check_attach_btf_id()`` of the verifier would object to."""
    need = attach_target(program)
    if need is None or need.target is None or not need.at_load or program.attach_type is None:
        return
    if need.target_kind is TargetKind.LSM_HOOK:
        rulings = list(_hook(loaded, program, need.target))
    elif need.target_kind is TargetKind.FUNCTION:
        rulings = list(_function(loaded, program, need, program.attach_type))
    else:
        return
    for ruling in rulings:
        if ruling.allowed is Allowed.YES:
            continue
        certain = ruling.allowed is Allowed.NO
        yield Reason(
            ReasonCode.TARGET_REFUSED if certain else ReasonCode.TARGET_UNKNOWN,
            need.name,
            ruling.told,
            Stage.VERIFIER,
            Evidence.RULE,
            certain,
        )


def _hook(loaded: Loaded, program: ProgramSpec, hook: str) -> Iterator[Ruling]:
    if loaded.facts.has_func(f"bpf_lsm_{hook}").value is False:
        return  # said where libbpf looks for it
    yield loaded.facts.rule(lsm_hooks.attachable, hook)
    if program.sleepable:
        yield loaded.facts.rule(lsm_hooks.sleepable, hook)


def _function(
    loaded: Loaded, program: ProgramSpec, need: AttachTargetNeed, attach_type: AttachType
) -> Iterator[Ruling]:
    assert need.target is not None
    rule, arch = loaded.facts.rule, THIS_ARCH
    prototype = loaded.facts.work(_prototype, need.target)
    if prototype is None:
        return
    yield prototype
    yield rule(fentry.attachable, need.target, attach_type, arch=arch)
    if loaded.facts.symbol(need.target).value is False:
        yield fentry.without_address(need.target)
    if program.sleepable:
        yield rule(fentry.may_sleep, need.target, arch=arch)
    elif attach_type is AttachType.MODIFY_RETURN:  # bpf_check_attach_target asks a sleepable one no more
        yield rule(fentry.may_modify_return, need.target, arch=arch)


def _prototype(facts: KernelFacts, ask: Ask, function: str) -> Ruling | None:
    place = facts.find(function, Kind.FUNC)
    if place is None:
        return None
    return fentry.prototype_accepted(place.btf, place.type_id, ask, arch=facts.arch or None)
