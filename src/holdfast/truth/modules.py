# SPDX-License-Identifier: Apache-2.0
"""Which modules of a kernel objects need: those that are inserted before anything is loaded.

A verdict counts every module of a build as loaded, as libbpf finds kfuncs, types and attach targets in any
of them; a guest has only those that somebody inserts.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.btf import essential_name
from holdfast.elf.spec import ObjectSpec
from holdfast.kernels.facts import KernelFacts

__all__ = ["needed_modules"]


def needed_modules(facts: KernelFacts, specs: Iterable[ObjectSpec]) -> tuple[str, ...]:
    """The modules whose BTF has, or that register, a name that an object asks for and vmlinux does not have:
    kfuncs and other externs, attach targets, struct_ops types, roots of CO-RE accesses. Sorted.

    Only modules whose BTF or registrations the facts hold can be found.
    """
    found: set[str] = set()
    names = sorted({name for spec in specs for name in _names(spec)})
    for name in names:
        registration = (facts.registrations or {}).get(name)
        if registration is not None:
            if registration.module is not None:
                found.add(registration.module)
            continue
        place = facts.find(name)
        if place is not None and place.module is not None:
            found.add(place.module)
    return tuple(sorted(found))


def _names(spec: ObjectSpec) -> Iterable[str]:
    for extern in spec.externs:
        yield essential_name(extern.name)
    for program in spec.programs:
        if program.target:
            # `module:function` names the module too, but it is found by the function as well
            yield program.target.rpartition(":")[2].partition("/")[0]
    for one in spec.maps:
        if one.struct_ops is not None:
            yield "bpf_struct_ops_" + essential_name(one.struct_ops.type_name)
    if spec.btf is not None:
        for relo in spec.core_relos:
            yield essential_name(spec.btf.name(relo.relo.type_id))
