# SPDX-License-Identifier: Apache-2.0
"""Predict: needs x facts -> a verdict for each program, with every reason in the order of libbpf and the
kernel.

The rules are libbpf's and the kernel's and live in the modules beside this one, one for each kind of need.
This one puts them together and never looks at the running kernel: facts are passed in.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from holdfast.elf.spec import ObjectSpec, ProgramSpec
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.addresses import address_reasons
from holdfast.predict.context import Kernel, Loaded
from holdfast.predict.externs import extern_hazards, extern_reasons
from holdfast.predict.global_functions import global_function_reasons
from holdfast.predict.instructions import instruction_reasons
from holdfast.predict.kconfig import kconfig_reasons
from holdfast.predict.kfuncs import added_reasons
from holdfast.predict.map_use import field_reasons, map_use_reasons
from holdfast.predict.maps import map_hazards, map_reasons
from holdfast.predict.memory import Memory
from holdfast.predict.model import Hazard, ProgramVerdict, Reason
from holdfast.predict.places import place_reasons
from holdfast.predict.program import object_reasons, program_reasons
from holdfast.predict.questions import Questions
from holdfast.predict.relocated import Relocated, relocate
from holdfast.predict.resolved import Relocations, resolve_program
from holdfast.predict.struct_ops import struct_ops_reasons
from holdfast.predict.targets import target_hazards, target_reasons
from holdfast.predict.walk import assumed_hazards, walk_reasons
from holdfast.relo.resolve import Accesses
from holdfast.terms import ProgramType, Verdict

__all__ = ["DEFAULT_LIBBPF", "Predictor", "check_object"]

DEFAULT_LIBBPF = (1, 7)
"""The release that is assumed where the caller names none."""


class Predictor:
    """Verdicts for one kernel and one libbpf; remembers what is common to many objects.

    Predictors of several kernels may share a ``memory``: then what they answer alike is worked out once. Not
    for use from several threads at once.
    """

    def __init__(
        self,
        facts: KernelFacts,
        libbpf: tuple[int, int] = DEFAULT_LIBBPF,
        memory: Memory | None = None,
    ) -> None:
        self._memory = memory if memory is not None else Memory()
        self.kernel = Kernel(Questions(facts, self._memory.numbers), libbpf)

    def check(self, spec: ObjectSpec) -> list[ProgramVerdict]:
        """A verdict for each program of the object, each judged as if the others' autoload were off."""
        kept = self._memory.shape(spec.sha256, spec.path)
        if not kept:
            kept[""] = Relocations(spec)
            kept["accesses"] = Accesses(self._memory.ways)
        loaded = Loaded(self.kernel, spec, kept["accesses"])
        base = (spec.path, self.kernel.constants, loaded.ksyms_key)
        shared = self._memory.recall(spec.sha256, base, loaded.facts, lambda: _shared(loaded))
        return [self._program(loaded, program, shared, base, kept) for program in spec.programs]

    def _program(
        self,
        loaded: Loaded,
        program: ProgramSpec,
        shared: tuple[Reason, ...],
        base: Hashable,
        kept: dict[Hashable, Any],
    ) -> ProgramVerdict:
        facts, sha256 = self.kernel.facts, loaded.spec.sha256
        resolved = resolve_program(loaded, program, kept[""])
        key = (base, program.section, program.name, resolved.key)
        facts.displaced = resolved.offsets_at

        def work_out() -> _Found:
            like = (loaded.spec.path, program.section, program.name, loaded.ksyms_key, resolved.key)
            relocated = relocate(loaded, program, resolved, self._memory.shape(sha256, like))
            return _judged(loaded, program, relocated)

        own, hazards = self._memory.recall(sha256, key, facts, work_out)
        reasons = tuple(sorted([*shared, *own], key=lambda reason: (reason.stage, reason.order)))
        return ProgramVerdict(
            loaded.spec.path,
            sha256,
            program.name,
            program.section,
            program.type,
            facts.id,
            self.kernel.libbpf,
            _verdict(reasons),
            reasons,
            hazards,
        )


_Found = tuple[list[Reason], tuple[Hazard, ...]]


def _shared(loaded: Loaded) -> tuple[Reason, ...]:
    """Reasons that stop every program."""
    found = [*object_reasons(loaded), *kconfig_reasons(loaded.spec, loaded.facts)]
    found += [*extern_reasons(loaded), *map_reasons(loaded), *field_reasons(loaded)]
    return tuple(found)


def _judged(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> _Found:
    """The program's own reasons and hazards."""
    found = list(relocated.reasons)
    found += program_reasons(loaded, program)
    found += struct_ops_reasons(loaded, program)
    if program.type is not ProgramType.UNSPEC:
        found += target_reasons(loaded, program)
        found += place_reasons(loaded, program)
        found += map_use_reasons(loaded, program)
        found += address_reasons(loaded, program)
        found += instruction_reasons(loaded, program, relocated)
        found += added_reasons(loaded, program, relocated)
        found += global_function_reasons(loaded, program, relocated)
        found += walk_reasons(loaded, program, relocated)
    return found, tuple(_hazards(loaded, program, relocated))


def _verdict(reasons: tuple[Reason, ...]) -> Verdict:
    """FAILS for any certain reason, else UNKNOWN for any other, else LOADS."""
    if any(reason.certain for reason in reasons):
        return Verdict.FAILS
    return Verdict.UNKNOWN if reasons else Verdict.LOADS


def _hazards(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Hazard]:
    yield from extern_hazards(loaded, program, relocated)
    yield from target_hazards(loaded, program)
    yield from map_hazards(loaded)
    yield from assumed_hazards(loaded, program)


def check_object(
    spec: ObjectSpec, facts: KernelFacts, *, libbpf: tuple[int, int] = DEFAULT_LIBBPF
) -> list[ProgramVerdict]:
    """Verdicts for each program of ``spec`` on the kernel of ``facts``, loaded by that libbpf release.

    For many objects on one kernel make one :class:`Predictor`.
    """
    return Predictor(facts, libbpf).check(spec)
