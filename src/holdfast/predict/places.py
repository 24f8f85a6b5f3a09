# SPDX-License-Identifier: Apache-2.0
"""Whether the verifier lets a program of this kind attach to the target that was found in BTF."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.btf.types import Kind
from holdfast.elf.spec import ProgramSpec
from holdfast.needs.model import AttachTargetNeed, TargetKind
from holdfast.needs.targets import attach_target
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.rules import fentry, lsm_hooks
from holdfast.rules.ask import Allowed, Ruling
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
    yield lsm_hooks.attachable(hook, loaded.kernel.ask)
    if program.sleepable:
        yield lsm_hooks.sleepable(hook, loaded.kernel.ask)


def _function(
    loaded: Loaded, program: ProgramSpec, need: AttachTargetNeed, attach_type: AttachType
) -> Iterator[Ruling]:
    assert need.target is not None
    place = loaded.facts.find(need.target, Kind.FUNC)
    if place is None:
        return
    ask, arch = loaded.kernel.ask, loaded.facts.arch or None
    yield fentry.prototype_accepted(place.btf, place.type_id, ask, arch=arch)
    yield fentry.attachable(need.target, attach_type, ask, arch=arch)
    if loaded.facts.symbol(need.target).value is False:
        yield fentry.without_address(need.target)
    if program.sleepable:
        yield fentry.may_sleep(need.target, ask, arch=arch)
    elif attach_type is AttachType.MODIFY_RETURN:  # bpf_check_attach_target asks a sleepable one no more
        yield fentry.may_modify_return(need.target, ask, arch=arch)
