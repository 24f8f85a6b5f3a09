# SPDX-License-Identifier: Apache-2.0
"""What to ask the running kernel by probe before programs are judged: just what their verdicts hang on."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.btf import essential_name
from holdfast.elf.spec import ExternKind, ObjectSpec
from holdfast.kernels.probed import HelperUse, KfuncUse, KindUse, Wanted
from holdfast.needs.collect import helper_calls
from holdfast.terms import MapType, ProgramType

__all__ = ["wanted"]


def wanted(specs: Iterable[ObjectSpec]) -> Wanted:
    """Program types, map types, helpers and kfuncs that these objects use, for ``kernels.live.facts()``."""
    program_types: set[ProgramType] = set()
    map_types: set[MapType] = set()
    helpers: set[HelperUse] = set()
    kfuncs: set[KfuncUse] = set()
    kinds: set[KindUse] = set()
    for spec in specs:
        map_types |= {m.type for m in spec.maps if isinstance(m.type, MapType)}
        externs = {e.name for e in spec.externs if e.kind is ExternKind.KFUNC}
        for program in spec.programs:
            if program.type is ProgramType.UNSPEC:
                continue
            program_types.add(program.type)
            kinds.add(KindUse(program.type, program.attach_type, program.sleepable))
            kind, attach, sleepable = program.type, program.attach_type, program.sleepable
            helpers |= {HelperUse(number, kind, attach, sleepable) for number in helper_calls(program)}
            called = {r.name for r in program.references if r.name in externs}
            kfuncs |= {KfuncUse(essential_name(name), kind, attach, sleepable) for name in called}
    return Wanted(
        frozenset(program_types),
        frozenset(map_types),
        frozenset(helpers),
        frozenset(kfuncs),
        kinds=frozenset(kinds),
    )
