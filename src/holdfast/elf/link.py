# SPDX-License-Identifier: Apache-2.0
"""Link functions into programs as libbpf does: each entry point with the subprograms that it reaches behind
it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from holdfast.btf.ext import CoreRelo, LineInfo
from holdfast.elf.functions import Function
from holdfast.elf.image import SHN_LORESERVE, STT_FUNC, STT_SECTION, ElfImage, ElfRelocation
from holdfast.elf.sections import find_section
from holdfast.elf.spec import MapOrigin, MapSpec, Part, ProgramSpec, Reference, ReferenceKind
from holdfast.insn import INSN_SIZE, Instruction
from holdfast.insn.instruction import CALL, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC
from holdfast.terms import MapType, ProgramType

__all__ = ["LinkError", "Linker"]

MAX_SLOTS: Final = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS: no kernel takes more


class LinkError(Exception):
    """libbpf refuses to relocate this program; the text is what it would say."""


@dataclass
class _Stream:
    """The program under construction."""

    insns: list[Instruction] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    core_relos: list[tuple[int, CoreRelo]] = field(default_factory=list)
    lines: list[tuple[int, LineInfo]] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)

    def append(self, function: Function) -> int:
        start = len(self.insns)
        if start + len(function.insns) > MAX_SLOTS:
            raise LinkError(f"more than {MAX_SLOTS} instructions")
        self.insns += function.insns
        length = len(function.insns)
        part = Part(function.index, function.name, start, length, function.func_type_id, function.is_global)
        self.parts.append(part)
        self.core_relos += [(start + slot, relo) for slot, relo in function.core_relos]
        self.lines += [(start + slot, line) for slot, line in function.lines]
        return start


class Linker:
    """Links the programs of one object."""

    def __init__(
        self, image: ElfImage, functions: list[Function], maps: list[MapSpec], externs: dict[int, str]
    ) -> None:
        self.image = image
        self.maps = maps
        self.externs = externs
        self.text = sorted((f for f in functions if f.is_subprog), key=lambda f: f.slot)
        self.text_slots = [f.slot for f in self.text]
        self.entries = [f for f in functions if not f.is_subprog]

    def programs(self) -> list[ProgramSpec]:
        """The entry points in libbpf's order; one that libbpf cannot relocate says so in ``link_problem``."""
        return [self.program(function) for function in self.entries]

    def program(self, function: Function) -> ProgramSpec:
        raw = function.section.name
        section = raw.removeprefix("?")
        definition = find_section(section)
        stream = _Stream()
        problem = None
        try:
            stream.append(function)
            self._resolve(stream, function, 0)
        except LinkError as error:
            problem = str(error)
        return ProgramSpec(
            function.name,
            section,
            not raw.startswith("?"),
            definition,
            definition.type if definition else ProgramType.UNSPEC,
            definition.attach_type if definition else None,
            tuple(stream.insns),
            tuple(stream.parts),
            tuple(sorted(stream.references, key=lambda r: r.slot)),
            tuple(sorted(stream.core_relos, key=lambda r: r[0])),
            tuple(sorted(stream.lines, key=lambda r: r[0])),
            problem,
        )

    def _resolve(self, stream: _Stream, entry: Function, base: int) -> None:
        """Relocate ``entry`` and, depth first as ``bpf_object__reloc_code()`` does, what it calls."""
        work = [(entry, base, 0, dict(entry.relocations))]
        for slot, relocation in entry.relocations:
            self._reference(stream, entry, base, slot, relocation)
        while work:
            function, start, at, relocations = work.pop()
            for slot in range(at, len(function.insns)):
                insn = function.insns[slot]
                if not self._is_code_reference(insn, relocations.get(slot)):
                    continue
                callee = self._callee(function, slot, insn, relocations.get(slot))
                known = stream.starts.get(callee.name)
                if known is None:
                    known = stream.starts[callee.name] = stream.append(callee)
                    self._patch(stream, start + slot, known, callee.name)
                    for inner_slot, relocation in callee.relocations:
                        self._reference(stream, callee, known, inner_slot, relocation)
                    work.append((function, start, slot + 1, relocations))
                    work.append((callee, known, 0, dict(callee.relocations)))
                    break
                self._patch(stream, start + slot, known, callee.name)

    def _is_code_reference(self, insn: Instruction, relocation: ElfRelocation | None) -> bool:
        if insn.opcode == CALL and insn.src == PSEUDO_CALL:
            return not (relocation and relocation.symbol.is_extern)
        return insn.opcode == LD_IMM64 and (
            insn.src == PSEUDO_FUNC or bool(relocation and self._is_function(relocation))
        )

    def _is_function(self, relocation: ElfRelocation) -> bool:
        symbol = relocation.symbol
        section = self.image.sections[symbol.shndx] if 0 < symbol.shndx < len(self.image.sections) else None
        return section is not None and section.name == ".text" and symbol.type in (STT_FUNC, STT_SECTION)

    def _callee(
        self, function: Function, slot: int, insn: Instruction, relocation: ElfRelocation | None
    ) -> Function:
        if insn.opcode == CALL:
            if relocation:
                target = relocation.symbol.value // INSN_SIZE + insn.imm + 1
            else:
                target = function.slot + slot + insn.imm + 1
        elif relocation:
            target = (relocation.symbol.value + insn.imm) // INSN_SIZE
        else:
            raise LinkError(f"prog '{function.name}': missing subprog addr relo for insn #{slot}")
        if relocation and not self._is_function(relocation):
            text = f"bad call relo against '{relocation.symbol.name}'"
            raise LinkError(f"prog '{function.name}': {text}: subprograms must be in .text")
        if not relocation and not function.is_subprog:
            # the offset is relative to the section, and libbpf looks it up in .text all the same
            raise LinkError(f"prog '{function.name}': insn #{slot} calls into its own section, not .text")
        at = bisect_right(self.text_slots, target) - 1
        if at < 0 or target >= self.text[at].slot + len(self.text[at].insns):
            raise LinkError(f"prog '{function.name}': no .text section found yet sub-program call exists")
        return self.text[at]

    def _patch(self, stream: _Stream, slot: int, target: int, name: str) -> None:
        insn = stream.insns[slot]
        is_call = insn.opcode == CALL
        source = PSEUDO_CALL if is_call else PSEUDO_FUNC
        stream.insns[slot] = insn._replace(src=source, imm=target - slot - 1)
        kind = ReferenceKind.SUBPROG_CALL if is_call else ReferenceKind.SUBPROG_ADDRESS
        stream.references.append(Reference(slot, kind, name))

    def _reference(
        self, stream: _Stream, function: Function, base: int, slot: int, relocation: ElfRelocation
    ) -> None:
        """Classify a relocation that is no subprogram's (``bpf_program__record_reloc()``)."""
        insn, symbol = function.insns[slot], relocation.symbol
        at = base + slot
        who = f"prog '{function.name}'"
        if insn.opcode not in (CALL, LD_IMM64):
            text = f"invalid relo against '{symbol.name}' for insns[{slot}].code {insn.opcode:#x}"
            raise LinkError(f"{who}: {text}")
        if symbol.is_extern:
            name = self.externs.get(symbol.index)
            if name is None:
                raise LinkError(f"{who}: extern relo failed to find extern for '{symbol.name}'")
            kind = ReferenceKind.KFUNC_CALL if insn.opcode == CALL else ReferenceKind.EXTERN
            stream.references.append(Reference(at, kind, name))
            return
        if insn.opcode == CALL or self._is_function(relocation):
            return  # _resolve's
        if not 0 < symbol.shndx < SHN_LORESERVE or symbol.shndx >= len(self.image.sections):
            text = f"invalid relo against '{symbol.name}' in special section {symbol.shndx:#x}"
            raise LinkError(f"{who}: {text}; forgot to initialize global var?")
        stream.references.append(self._data_reference(who, at, symbol.shndx, symbol.value, insn, symbol.name))

    def _data_reference(
        self, who: str, at: int, section_index: int, value: int, insn: Instruction, symbol: str
    ) -> Reference:
        section = self.image.sections[section_index]
        if section.name == ".addr_space.1":
            arena = next((m for m in self.maps if m.type == MapType.ARENA), None)
            if arena is None:
                raise LinkError(f"{who}: bad arena data relocation, no arena maps defined")
            return Reference(at, ReferenceKind.MAP_VALUE, arena.name, value + insn.imm)
        if section.name == ".jumptables":
            return Reference(at, ReferenceKind.JUMP_TABLE, symbol, value)
        for spec in self.maps:
            if spec.section_index != section_index or not spec.section:
                continue
            if spec.origin in (MapOrigin.BTF, MapOrigin.LEGACY):
                if spec.offset == value:
                    return Reference(at, ReferenceKind.MAP, spec.name)
            else:
                return Reference(at, ReferenceKind.MAP_VALUE, spec.name, value + insn.imm)
        raise LinkError(f"{who}: bad map relo against '{symbol}' in section '{section.name}'")
