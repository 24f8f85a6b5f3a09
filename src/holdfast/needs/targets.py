# SPDX-License-Identifier: Apache-2.0
"""What a program attaches to, read from its section name as libbpf reads it."""

from __future__ import annotations

from typing import Final

from holdfast.elf.spec import ProgramSpec
from holdfast.needs.model import AttachTargetNeed, TargetKind
from holdfast.terms import AttachType, ProgramType

__all__ = ["attach_target"]

_BY_STEM: Final = {
    "kprobe": TargetKind.KPROBE,
    "kretprobe": TargetKind.KPROBE,
    "ksyscall": TargetKind.SYSCALL,
    "kretsyscall": TargetKind.SYSCALL,
    "uprobe": TargetKind.UPROBE,
    "uretprobe": TargetKind.UPROBE,
    "usdt": TargetKind.USDT,
    "tp": TargetKind.TRACEPOINT,
    "tracepoint": TargetKind.TRACEPOINT,
    "raw_tp": TargetKind.RAW_TRACEPOINT,
    "raw_tracepoint": TargetKind.RAW_TRACEPOINT,
}
_BY_ATTACH_TYPE: Final = {
    AttachType.TRACE_RAW_TP: TargetKind.TRACEPOINT_BTF,
    AttachType.TRACE_ITER: TargetKind.ITERATOR,
    AttachType.LSM_MAC: TargetKind.LSM_HOOK,
    AttachType.LSM_CGROUP: TargetKind.LSM_HOOK,
}


def attach_target(program: ProgramSpec) -> AttachTargetNeed | None:
    """The target that the section names; None for a program type without one.

    A target that libbpf looks up in BTF must be there for the load (``libbpf_prepare_prog_load()``); others
    are looked for when the program is attached. ``target`` is None where the section leaves it to the
    application.
    """
    definition = program.definition
    if definition is None:
        return None
    if definition.attaches_by_btf:
        if program.type is ProgramType.EXT:
            kind = TargetKind.PROGRAM
        else:
            attach_type = definition.attach_type or AttachType.TRACE_FENTRY
            kind = _BY_ATTACH_TYPE.get(attach_type, TargetKind.FUNCTION)
        module, _, name = (program.target or "").rpartition(":")
        return _need(kind, name or None, module or None, at_load=True)
    stem = program.section.partition("/")[0].partition(".")[0]
    found = _BY_STEM.get(stem)
    if found is None or program.type in (ProgramType.STRUCT_OPS, ProgramType.TRACING):
        return None
    return _need(found, program.target, None, at_load=False)


def _need(kind: TargetKind, target: str | None, module: str | None, *, at_load: bool) -> AttachTargetNeed:
    name = f"{kind.value} {target}" if target else f"{kind.value} (set by the application)"
    return AttachTargetNeed(name=name, target_kind=kind, target=target, module=module, at_load=at_load)
