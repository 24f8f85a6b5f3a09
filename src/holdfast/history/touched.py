# SPDX-License-Identifier: Apache-2.0
"""Which parts of a kernel's surface some objects touch, from what their programs need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from holdfast.elf.spec import ObjectSpec
from holdfast.history.surface import Section
from holdfast.needs.collect import needs_of_object
from holdfast.needs.model import (
    AttachTargetNeed,
    HelperNeed,
    KconfigNeed,
    KfuncNeed,
    MapNeed,
    Need,
    ProgramTypeNeed,
    StructOpsNeed,
    TargetKind,
)
from holdfast.terms import MapType

__all__ = ["touched"]

_TARGETS = {
    TargetKind.FUNCTION: Section.FUNCTION,
    TargetKind.LSM_HOOK: Section.LSM_HOOK,
    TargetKind.TRACEPOINT_BTF: Section.TRACEPOINT,
    TargetKind.RAW_TRACEPOINT: Section.TRACEPOINT,
    TargetKind.ITERATOR: Section.ITERATOR,
}


def touched(specs: Iterable[ObjectSpec]) -> Mapping[Section, frozenset[str]]:
    """Names in each section that the objects' programs need; sections that none touches are left out.

    CO-RE fields are not among them: what becomes of those shows in the verdicts.
    """
    found: dict[Section, set[str]] = defaultdict(set)
    for spec in specs:
        for program in needs_of_object(spec).programs:
            for need in program.needs:
                _add(found, need)
    return {section: frozenset(names) for section, names in found.items()}


def _add(found: dict[Section, set[str]], need: Need) -> None:
    match need:
        case KfuncNeed():
            found[Section.KFUNC].add(need.name)
        case HelperNeed():
            found[Section.HELPER].add(need.name.removeprefix("bpf_"))
        case ProgramTypeNeed():
            found[Section.PROGRAM_TYPE].add(need.type.name)
            found[Section.CAPABILITY].add(need.type.name)
            if need.attach_type is not None:
                found[Section.ATTACH_TYPE].add(need.attach_type.name)
        case MapNeed():
            if isinstance(need.map.type, MapType):
                found[Section.MAP_TYPE].add(need.map.type.name)
        case StructOpsNeed():
            found[Section.STRUCT_OPS].add(need.type_name)
            found[Section.STRUCT_OPS].update(f"{need.type_name}.{one}" for one in need.members)
        case AttachTargetNeed() if need.target and need.target_kind in _TARGETS:
            found[_TARGETS[need.target_kind]].add(need.target)
        case KconfigNeed() if need.name.startswith("CONFIG_"):
            found[Section.CONFIG].add(need.name)
        case _:
            pass
