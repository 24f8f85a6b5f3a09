# SPDX-License-Identifier: Apache-2.0
"""A program as libbpf would hand it to this kernel: CO-RE applied, externs resolved, what is missing
poisoned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from holdfast.elf.spec import ExternKind, ProgramSpec, ReferenceKind
from holdfast.insn import Instruction
from holdfast.insn.flow import Graph
from holdfast.insn.live import Reached, explore
from holdfast.insn.values import MapAddress, Token
from holdfast.needs.stream import known_references, prepared, read_frozen, static_starts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.kconfig import kconfig_reader
from holdfast.predict.model import Reason, Stage
from holdfast.predict.resolved import Resolved
from holdfast.relo.resolve import Resolution
from holdfast.rules.ask import Sign
from holdfast.terms import Evidence

__all__ = ["Relocated", "relocate"]


@dataclass(eq=False)
class Relocated:
    """``insns`` after relocation; ``poisons`` maps a slot to the resolution that poisoned it."""

    loaded: Loaded
    program: ProgramSpec
    insns: tuple[Instruction, ...]
    poisons: dict[int, Resolution]
    reasons: tuple[Reason, ...]
    resolved: Resolved
    _known: dict[int, int | Token | MapAddress] = field(repr=False)

    @property
    def live(self) -> frozenset[int]:
        """Slots that may run; worked out when something that may be dead code is in question."""
        return self.reached.slots

    @cached_property
    def reached(self) -> Reached:
        """The verifier's walk as far as constants tell."""
        return _reached(self.loaded, self.program, self.insns, self._known)

    @property
    def context_slots(self) -> tuple[int, ...]:
        """Slots whose displacement a verdict rests on: relocated loads and stores that are known to be of
        the context. None where the walk was not wanted.
        """
        if "reached" not in self.__dict__:
            return ()
        touched = {*self.reached.context_loads, *self.reached.context_stores}
        return tuple(sorted(slot for slot in touched if slot in self.resolved.rows))


def relocate(loaded: Loaded, program: ProgramSpec, resolved: Resolved) -> Relocated:
    """The stream with every relocation that libbpf applies when this program alone is loaded."""
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
        if reference.kind is ReferenceKind.EXTERN and reference.name in loaded.ksyms:
            known[reference.slot] = _address(loaded, program, reference.name)
    reasons = tuple(
        _stops(program, function, slot, row.resolution, order)
        for order, (function, slot, row) in enumerate(resolved.refused)
    )
    return Relocated(loaded, program, tuple(insns), poisons, reasons, resolved, known)


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


def _address(loaded: Loaded, program: ProgramSpec, name: str) -> int | Token:
    found = loaded.ksyms[name]
    if found.absent:
        return 0
    if found.found is None:
        return Token.UNKNOWN
    extern = loaded.spec.extern(name)
    # The address of a function is a PTR_TO_MEM, which reg_not_null() of the verifier counts as not null in
    # the 6.12 tree and not in the 6.1 tree. Nothing in BTF came with that change; arenas (6.9) are later.
    if extern is not None and extern.kind is ExternKind.KFUNC:
        newer = loaded.kernel.ask.btf(Sign.value("bpf_map_type", "BPF_MAP_TYPE_ARENA"))
        return Token.NON_ZERO if newer else Token.UNKNOWN
    return Token.NON_ZERO


def _reached(
    loaded: Loaded,
    program: ProgramSpec,
    insns: tuple[Instruction, ...],
    known: dict[int, int | Token | MapAddress],
) -> Reached:
    statics = static_starts(program)
    global_starts = [p.start for p in program.parts[1:] if p.is_global]
    # Since commit 2afae08c9dcb ("bpf: Validate global subprogs lazily", v6.8) only called ones are verified;
    # which keeps note of it in struct bpf_func_info_aux.
    lazily = loaded.kernel.ask.btf(Sign.member("bpf_func_info_aux", "called"))
    entries = [0] if lazily else [0, *global_starts]
    return explore(
        insns,
        known,
        read=read_frozen(loaded.spec, kconfig_reader(loaded.spec, loaded.facts)),
        static_subprogs=statics,
        entries=entries,
        graph=Graph(insns),
    )
