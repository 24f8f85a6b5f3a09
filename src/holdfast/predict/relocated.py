# SPDX-License-Identifier: Apache-2.0
"""A program as libbpf would hand it to this kernel: CO-RE applied, externs resolved, what is missing
poisoned.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from holdfast.elf.spec import ExternKind, ProgramSpec, ReferenceKind
from holdfast.insn import Instruction
from holdfast.insn.flow import Graph
from holdfast.insn.live import Origins, Reached, explore
from holdfast.insn.values import MapAddress, Token
from holdfast.needs.stream import known_references, prepared, read_frozen, static_starts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.kconfig import kconfig_reader
from holdfast.predict.model import Reason, Stage
from holdfast.predict.order import visit_order
from holdfast.predict.origins import origins
from holdfast.predict.questions import Once
from holdfast.predict.resolved import Resolved
from holdfast.predict.tree import MISSING, Trail, Tree
from holdfast.relo.ksym import KsymResolution
from holdfast.relo.resolve import Resolution
from holdfast.rules.ask import Sign
from holdfast.terms import Evidence

__all__ = ["Relocated", "relocate"]

_T = TypeVar("_T")


@dataclass(eq=False)
class Relocated:
    """``insns`` after relocation; ``poisons`` maps a slot to the resolution that poisoned it."""

    loaded: Loaded
    program: ProgramSpec
    insns: tuple[Instruction, ...]
    poisons: dict[int, Resolution]
    reasons: tuple[Reason, ...]
    resolved: Resolved
    shape: dict[Hashable, Any] = field(repr=False)
    """What is remembered of this program under these relocations, whatever the kernel."""
    _known: dict[int, int | Token | MapAddress] = field(repr=False)

    @property
    def live(self) -> frozenset[int]:
        """Slots that may run; worked out when something that may be dead code is in question."""
        return self.reached.slots

    @property
    def origins(self) -> Origins:
        """Where it gets typed pointers to the kernel's objects."""
        return self.remember("origins", lambda: origins(self.loaded.spec, self.program))

    @property
    def reached(self) -> Reached:
        """The verifier's walk as far as constants tell."""
        return self._reached.value()

    @cached_property
    def _reached(self) -> Once[Reached]:
        return Once(self.loaded.facts, self._noted_walk)

    def _noted_walk(self) -> Reached:
        facts = self.loaded.facts
        globals_ = [part.start for part in self.program.parts[1:] if part.is_global]
        # Since commit 2afae08c9dcb ("bpf: Validate global subprogs lazily", v6.8) only called ones are
        # verified; which keeps note of it in struct bpf_func_info_aux.
        lazily = not globals_ or self.loaded.kernel.ask.btf(Sign.member("bpf_func_info_aux", "called"))
        entries = (0,) if lazily else (0, *globals_)
        externs = tuple([(slot, self._known.get(slot)) for slot in self._extern_slots])
        walks: Tree = self.remember(("walks", entries, externs), Tree)
        path: Trail = {}
        reached = walks.find(facts, path)
        if reached is not MISSING:
            facts.hear(path)
            return reached  # type: ignore[no-any-return]
        with facts.listen() as trail:
            reached = self._explore(entries)
            # Which of the context's members are touched is all that is read from displacements.
            slots = self._displaced(reached)
            if slots:
                facts.own(_displacements, self.resolved.number, slots)
        walks.keep(trail, reached)
        return reached

    @property
    def order(self) -> Mapping[int, int]:
        """Live slots -> position in the verifier's walk."""
        reached = self.reached  # one object for all kernels on which the walk is one; kept, so its id stays
        return self.remember(("order", id(reached)), lambda: (reached, self._visited(reached.slots)))[1]

    def _visited(self, live: frozenset[int]) -> dict[int, int]:
        visited = visit_order(self.insns, live, static_starts(self.program))
        return {slot: position for position, slot in enumerate(visited)}

    @property
    def _extern_slots(self) -> list[int]:
        return [r.slot for r in self.program.references if r.kind is ReferenceKind.EXTERN]

    def _explore(self, entries: tuple[int, ...]) -> Reached:
        return explore(
            self.insns,
            self._known,
            read=read_frozen(self.loaded.spec, kconfig_reader(self.loaded.spec, self.loaded.facts)),
            static_subprogs=static_starts(self.program),
            entries=entries,
            graph=Graph(self.insns),
            origins=self.origins,
        )

    def remember(self, key: Hashable, work_out: Callable[[], _T]) -> _T:
        """``work_out()``, or what it gave for another kernel on which the instructions mean the same.

        It must not look at what the kernel says elsewhere, nor at displacements, unless ``key`` has it.
        """
        if key not in self.shape:
            self.shape[key] = work_out()
        return self.shape[key]  # type: ignore[no-any-return]

    def _displaced(self, reached: Reached) -> tuple[int, ...]:
        touched = {*reached.context_loads, *reached.context_stores}
        return tuple(sorted(slot for slot in touched if slot in self.resolved.rows))


def _displacements(loaded: Loaded, number: int, slots: tuple[int, ...]) -> tuple[int | None, ...]:
    return loaded.resolved(number).offsets_at(slots)


def relocate(
    loaded: Loaded, program: ProgramSpec, resolved: Resolved, shape: dict[Hashable, Any] | None = None
) -> Relocated:
    """The stream with every relocation that libbpf applies when this program alone is loaded.

    ``shape`` is what :meth:`Relocated.remember` keeps, for all kernels on which ``resolved.stream`` is equal.
    """
    insns = list(prepared(program))
    known = known_references(loaded.spec, program)
    poisons: dict[int, Resolution] = {}
    for at, row in resolved.rows.items():
        if row.number is None:
            known.pop(at, None)
        else:
            known[at] = row.number
        if row.resolution.poison:
            poisons[at] = row.resolution
        for offset, insn in enumerate(row.resolution.patched):
            insns[at + offset] = insn
    for reference in program.references:
        if reference.kind is ReferenceKind.EXTERN:
            ksym = loaded.ksyms.get(reference.name)
            if ksym is not None:
                known[reference.slot] = _address(loaded, ksym)
    reasons = tuple(
        _stops(program, function, slot, row.resolution, order)
        for order, (function, slot, row) in enumerate(resolved.refused)
    )
    kept = shape if shape is not None else {}
    return Relocated(loaded, program, tuple(insns), poisons, reasons, resolved, kept, known)


def _stops(program: ProgramSpec, function: int, slot: int, found: Resolution, order: int) -> Reason:
    assert found.error is not None
    return Reason(
        ReasonCode.CORE_INVALID,
        f"CO-RE {found.spec or found.relo.access}",
        f"libbpf stops at this relocation: {found.error.message}",
        Stage.RELOCATE,
        Evidence.BTF,
        source=_source(program, function, slot),
        hint="several kernel types match it differently, or the object is damaged",
        order=order,
    )


def _source(program: ProgramSpec, function: int, slot: int) -> str | None:
    for part in program.parts:
        if part.function == function:
            return program.source_at(part.start + slot)
    return None


def _address(loaded: Loaded, found: KsymResolution) -> int | Token:
    if found.absent:
        return 0
    if found.found is None:
        return Token.UNKNOWN
    extern = loaded.spec.extern(found.name)
    # The address of a function is a PTR_TO_MEM, which reg_not_null() of the verifier counts as not null in
    # the 6.12 tree and not in the 6.1 tree. Nothing in BTF came with that change; arenas (6.9) are later.
    if extern is not None and extern.kind is ExternKind.KFUNC:
        newer = loaded.kernel.ask.btf(Sign.value("bpf_map_type", "BPF_MAP_TYPE_ARENA"))
        return Token.NON_ZERO if newer else Token.UNKNOWN
    return Token.NON_ZERO
