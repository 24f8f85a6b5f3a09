# SPDX-License-Identifier: Apache-2.0
"""Predict: needs x facts -> a verdict for each program, with every reason in the order of libbpf and the
kernel.

The rules are libbpf's and the kernel's and live in the modules beside this one, one for each kind of need.
This one puts them together and never looks at the running kernel: facts are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Final, TypeVar

from holdfast.elf.spec import ObjectSpec, ProgramSpec
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.addresses import address_reasons
from holdfast.predict.context import Kernel, Loaded, Own
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
from holdfast.predict.questions import Once, Questions
from holdfast.predict.relocated import Relocated, relocate
from holdfast.predict.stack import stack_reasons
from holdfast.predict.struct_ops import struct_ops_reasons
from holdfast.predict.targets import target_hazards, target_reasons
from holdfast.predict.walk import assumed_hazards, walk_reasons
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
        self._constants = self._memory.numbers.answer(self.kernel.constants)

    def check(self, spec: ObjectSpec) -> list[ProgramVerdict]:
        """A verdict for each program of the object, each judged as if the others' autoload were off."""
        memory, kernel = self._memory, self.kernel
        kept = memory.shape(spec.sha256, spec.path)
        own = kept.get("own")
        if own is None:
            own = kept["own"] = Own(spec, memory.ways)
        loaded = Loaded(kernel, own)
        base = (spec.path, self._constants)
        with kernel.facts.about(loaded):
            found = memory.recall(
                spec.sha256,
                (base, loaded.relocations_key),
                kernel.facts,
                lambda: [self._program(loaded, at, one, base) for at, one in enumerate(spec.programs)],
            )
        facts, libbpf = kernel.facts, kernel.libbpf
        return [
            ProgramVerdict(
                spec.path,
                spec.sha256,
                program.name,
                program.section,
                program.type,
                facts.id,
                libbpf,
                verdict,
                reasons,
                hazards,
            )
            for program, (verdict, reasons, hazards) in zip(spec.programs, found, strict=True)
        ]

    def _program(self, loaded: Loaded, number: int, program: ProgramSpec, base: Hashable) -> _Judged:
        """What there is to say of one program, with the reasons that stop all programs."""
        facts, sha256 = self.kernel.facts, loaded.spec.sha256
        shared = self._memory.recall(sha256, base, facts, lambda: _shared(loaded))
        key = (base, number, loaded.resolved(number).key)
        own, hazards = self._memory.recall(
            sha256, key, facts, lambda: self._judged(loaded, number, program, key)
        )
        reasons = tuple(sorted([*shared, *own], key=lambda reason: (reason.stage, reason.order)))
        return _verdict(reasons), reasons, hazards

    def _judged(self, loaded: Loaded, number: int, program: ProgramSpec, key: Hashable) -> _Found:
        """The program's own reasons and hazards, kept part by part, as kernels that differ in one part seldom
        differ in another.
        """
        facts, sha256 = loaded.facts, loaded.spec.sha256
        resolved = loaded.resolved(number)
        shape = self._memory.shape(sha256, (loaded.spec.path, number, resolved.stream))
        relocated = Once(facts, lambda: relocate(loaded, program, resolved, shape))
        reasons: list[Reason] = []
        hazards: list[Hazard] = []
        for place, part in enumerate(_PARTS if program.type is not ProgramType.UNSPEC else _UNTYPED):
            work = partial(_worked_out, part, loaded, program, relocated)
            reasons += self._memory.recall(sha256, (key, place), facts, work)
        for place, named in enumerate(_HAZARDS, 1):
            look = partial(_worked_out, named, loaded, program, relocated)
            hazards += self._memory.recall(sha256, (key, -place), facts, look)
        return reasons, tuple(hazards)


_Judged = tuple[Verdict, tuple[Reason, ...], tuple[Hazard, ...]]
_Found = tuple[list[Reason], tuple[Hazard, ...]]


_T = TypeVar("_T")


def _worked_out(
    part: Callable[[Loaded, ProgramSpec, Once[Relocated]], Iterable[_T]],
    loaded: Loaded,
    program: ProgramSpec,
    relocated: Once[Relocated],
) -> tuple[_T, ...]:
    return tuple(part(loaded, program, relocated))


_Part = Callable[[Loaded, ProgramSpec, Once[Relocated]], Iterable[Reason]]
_UNTYPED: Final[tuple[_Part, ...]] = (
    lambda loaded, program, once: once.value().reasons,
    lambda loaded, program, once: program_reasons(loaded, program),
    lambda loaded, program, once: struct_ops_reasons(loaded, program),
)
_PARTS: Final[tuple[_Part, ...]] = (
    *_UNTYPED,
    lambda loaded, program, once: target_reasons(loaded, program),
    lambda loaded, program, once: place_reasons(loaded, program),
    lambda loaded, program, once: map_use_reasons(loaded, program),
    lambda loaded, program, once: address_reasons(loaded, program),
    lambda loaded, program, once: instruction_reasons(loaded, program, once.value()),
    lambda loaded, program, once: added_reasons(loaded, program, once.value()),
    lambda loaded, program, once: global_function_reasons(loaded, program, once.value()),
    lambda loaded, program, once: walk_reasons(loaded, program, once.value()),
    lambda loaded, program, once: stack_reasons(loaded, program, once.value()),
)
_HAZARDS: Final[tuple[Callable[[Loaded, ProgramSpec, Once[Relocated]], Iterable[Hazard]], ...]] = (
    lambda loaded, program, once: extern_hazards(loaded, program, once.value()),
    lambda loaded, program, once: target_hazards(loaded, program),
    lambda loaded, program, once: map_hazards(loaded),
    lambda loaded, program, once: assumed_hazards(loaded, program),
)


def _shared(loaded: Loaded) -> tuple[Reason, ...]:
    """Reasons that stop every program."""
    found = [*object_reasons(loaded), *kconfig_reasons(loaded.spec, loaded.facts)]
    found += [*extern_reasons(loaded), *map_reasons(loaded), *field_reasons(loaded)]
    return tuple(found)


def _verdict(reasons: tuple[Reason, ...]) -> Verdict:
    """FAILS for any certain reason, else UNKNOWN for any other, else LOADS."""
    if any(reason.certain for reason in reasons):
        return Verdict.FAILS
    return Verdict.UNKNOWN if reasons else Verdict.LOADS


def check_object(
    spec: ObjectSpec, facts: KernelFacts, *, libbpf: tuple[int, int] = DEFAULT_LIBBPF
) -> list[ProgramVerdict]:
    """Verdicts for each program of ``spec`` on the kernel of ``facts``, loaded by that libbpf release.

    For many objects on one kernel make one :class:`Predictor`.
    """
    return Predictor(facts, libbpf).check(spec)
