# SPDX-License-Identifier: Apache-2.0
"""Link functions into programs as libbpf does: each entry point with the subprograms that it reaches behind
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.ext import CoreRelo, LineInfo
from holdfast.btf.types import DeclTag, Func, Kind
from holdfast.elf.functions import Function, find_function
from holdfast.elf.image import (
    SHN_LORESERVE,
    STB_LOCAL,
    STT_FUNC,
    STT_SECTION,
    ElfImage,
    ElfRelocation,
    ElfSymbol,
)
from holdfast.elf.maps import Refusal
from holdfast.elf.sections import find_section
from holdfast.elf.spec import MapOrigin, MapSpec, Part, ProgramSpec, Reference, ReferenceKind
from holdfast.errors import ObjectFileError
from holdfast.insn import INSN_SIZE, Instruction
from holdfast.insn.instruction import CALL, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC
from holdfast.terms import MapType, ProgramType

__all__ = ["LinkError", "Linker"]

MAX_SLOTS: Final = 2_000_000  # of one program; no kernel takes more than half of it
MAX_ALL_SLOTS: Final = 16_000_000  # over all programs; the largest real object has 200 000
_EXCEPTION_CALLBACK: Final = "exception_callback:"


_DECLARED: Final = (MapOrigin.BTF, MapOrigin.LEGACY)


class LinkError(Exception):
    """libbpf refuses to relocate this program; the text is what it would say."""


@dataclass
class _Stream:
    """The program under construction."""

    path: str
    insns: list[Instruction] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    core_relos: list[tuple[int, CoreRelo]] = field(default_factory=list)
    lines: list[tuple[int, LineInfo]] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)  # by number of the function

    def append(self, function: Function, references: list[Reference]) -> int:
        start = len(self.insns)
        if start + len(function.insns) > MAX_SLOTS:
            name = self.parts[0].name if self.parts else function.name
            raise ObjectFileError(self.path, f"more than {MAX_SLOTS} instructions", place=f"program '{name}'")
        self.insns += function.insns
        length = len(function.insns)
        part = Part(function.index, function.name, start, length, function.func_type_id, function.is_global)
        self.parts.append(part)
        self.references += [replace(row, slot=start + row.slot) for row in references]
        self.core_relos += [(start + slot, relo) for slot, relo in function.core_relos]
        self.lines += [(start + slot, line) for slot, line in function.lines]
        return start


@dataclass(frozen=True, slots=True)
class _Site:
    """An instruction that refers to code; ``target`` is a slot of .text, ``problem`` why there is none."""

    slot: int
    target: int
    problem: str | None = None


class Linker:
    """Links the programs of one object.

    ``problem`` is set when libbpf refuses a relocation while it opens the object, whichever function has it
    (``bpf_object__collect_prog_relos()``).
    """

    def __init__(
        self,
        image: ElfImage,
        btf: Btf | None,
        functions: list[Function],
        maps: list[MapSpec],
        externs: dict[int, str],
    ) -> None:
        self.image = image
        self.functions = functions
        self.callbacks = _exception_callbacks(btf)
        self.externs = externs
        self.problem: Refusal | None = None
        text = [section.index for section in image.sections if section.name == ".text" and section.is_code]
        self.text = text[-1] if text else 0
        self.map_at = {(m.section_index, m.offset): m for m in maps if m.origin in _DECLARED and m.section}
        self.data_at = {m.section_index: m for m in maps if m.is_internal and m.section_index}
        self.arena = next((m for m in maps if m.type == MapType.ARENA), None)
        self.references: list[list[Reference]] = []
        self.sites: list[list[_Site]] = []
        for function in functions:
            self.references.append(self._references(function))
            self.sites.append(list(self._sites(function)))

    def programs(self) -> list[ProgramSpec]:
        """The entry points in libbpf's order; one that libbpf cannot relocate says so in ``link_problem``.

        Raises :exc:`~holdfast.errors.ObjectFileError` when all of them together are too large to hold.
        """
        programs = []
        total = 0
        for function in self.functions:
            if not function.is_subprog:
                programs.append(self.program(function))
                total += len(programs[-1].insns)
                if total > MAX_ALL_SLOTS:
                    problem = f"its programs have more than {MAX_ALL_SLOTS} instructions together"
                    raise ObjectFileError(self.image.path, problem, place=f"program '{function.name}'")
        return programs

    def program(self, function: Function) -> ProgramSpec:
        raw = function.section.name
        section = raw.removeprefix("?")
        definition = find_section(section)
        stream = _Stream(self.image.path)
        problem = None
        try:
            self._resolve(stream, function, stream.append(function, self.references[function.index]))
            self._exception_callback(stream, function)
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

    # -- code ---------------------------------------------------------------------------------------------

    def _resolve(self, stream: _Stream, entry: Function, base: int) -> None:
        """Append, depth first as ``bpf_object__reloc_code()`` does, what ``entry`` refers to."""
        work = [(entry, base, iter(self.sites[entry.index]))]
        while work:
            function, start, sites = work[-1]
            site = next(sites, None)
            if site is None:
                work.pop()
                continue
            if site.problem:
                raise LinkError(site.problem)
            callee = find_function(self.functions, self.text, site.target)
            if callee is None:
                raise LinkError(f"prog '{function.name}': no .text section found yet sub-program call exists")
            known = stream.starts.get(callee.index)
            if known is None:
                known = self._append(stream, callee)
                work.append((callee, known, iter(self.sites[callee.index])))
            self._patch(stream, start + site.slot, known, callee.name)

    def _append(self, stream: _Stream, callee: Function) -> int:
        start = stream.starts[callee.index] = stream.append(callee, self.references[callee.index])
        return start

    def _exception_callback(self, stream: _Stream, function: Function) -> None:
        """Append the function that a declaration tag names (``bpf_prog_assign_exc_cb()``, since libbpf 1.3).

        libbpf leaves it out on kernels without declaration tags in BTF (before v5.16).
        """
        found: Function | None = None
        for name in self.callbacks.get(function.name, ()):
            if found is not None:
                return  # two tags: libbpf appends none, and the verifier refuses them
            found = next((f for f in self.functions if f.is_subprog and f.name == name), None)
            if found is None:
                raise LinkError(f"prog '{function.name}': cannot find exception callback '{name}'")
            if not found.is_global:
                text = f"exception callback {name} must be a global non-hidden function"
                raise LinkError(f"prog '{function.name}': {text}")
        if found is not None and found.index not in stream.starts:
            self._resolve(stream, found, self._append(stream, found))

    def _sites(self, function: Function) -> Iterator[_Site]:
        relocations = dict(function.relocations)
        for slot, insn in enumerate(function.insns):
            is_call = insn.opcode == CALL and insn.src == PSEUDO_CALL
            if not is_call and insn.opcode != LD_IMM64:
                continue
            relocation = relocations.get(slot)
            symbol = relocation.symbol if relocation else None
            if symbol is not None and symbol.is_extern:
                continue
            to_code = symbol is not None and (is_call or self._is_subprogram(symbol))
            if not is_call and not to_code and insn.src != PSEUDO_FUNC:
                continue
            if symbol is None and not is_call:
                problem = f"prog '{function.name}': missing subprog addr relo for insn #{slot}"
                yield _Site(slot, 0, problem)
            elif symbol is None:
                yield _Site(slot, function.slot + slot + insn.imm + 1)
            elif not to_code:
                yield _Site(slot, 0, f"prog '{function.name}': unexpected relo for insn #{slot}")
            elif is_call:
                yield _Site(slot, symbol.value // INSN_SIZE + insn.imm + 1)
            else:
                yield _Site(slot, (symbol.value + insn.imm) // INSN_SIZE)

    def _is_subprogram(self, symbol: ElfSymbol) -> bool:
        """``sym_is_subprog()``: static functions are named by their section's symbol."""
        if not self.text or symbol.shndx != self.text:
            return False
        return symbol.type == (STT_SECTION if symbol.bind == STB_LOCAL else STT_FUNC)

    def _patch(self, stream: _Stream, slot: int, target: int, name: str) -> None:
        insn = stream.insns[slot]
        is_call = insn.opcode == CALL
        source = PSEUDO_CALL if is_call else PSEUDO_FUNC
        stream.insns[slot] = insn._replace(src=source, imm=target - slot - 1)
        kind = ReferenceKind.SUBPROG_CALL if is_call else ReferenceKind.SUBPROG_ADDRESS
        stream.references.append(Reference(slot, kind, name))

    # -- all else -----------------------------------------------------------------------------------------

    def _references(self, function: Function) -> list[Reference]:
        """What the relocations of one function refer to, code apart; slots count from its start."""
        references = []
        for slot, relocation in function.relocations:
            try:
                found = self._reference(function, slot, relocation)
            except LinkError as error:
                self.problem = self.problem or Refusal(str(error), "bpf_program__record_reloc")
                continue
            if found is not None:
                references.append(found)
        return references

    def _reference(self, function: Function, slot: int, relocation: ElfRelocation) -> Reference | None:
        """Classify a relocation as ``bpf_program__record_reloc()`` does; None for one that :meth:`_sites`
        follows.
        """
        insn, symbol = function.insns[slot], relocation.symbol
        who = f"prog '{function.name}'"
        if relocation.offset % INSN_SIZE:
            raise LinkError(f"{who}: invalid offset {relocation.offset:#x} of a relocation")
        if symbol.shndx >= len(self.image.sections):
            raise LinkError(f"{who}: symbol '{symbol.name}' points to invalid section #{symbol.shndx}")
        if insn.opcode not in (CALL, LD_IMM64):
            text = f"invalid relo against '{symbol.name}' for insns[{slot}].code {insn.opcode:#x}"
            raise LinkError(f"{who}: {text}")
        if symbol.is_extern:
            name = self.externs.get(symbol.index)
            if name is None:
                raise LinkError(f"{who}: extern relo failed to find extern for '{symbol.name}'")
            kind = ReferenceKind.KFUNC_CALL if insn.opcode == CALL else ReferenceKind.EXTERN
            return Reference(slot, kind, name)
        section = self.image.sections[symbol.shndx]
        if insn.opcode == CALL:
            if insn.src != PSEUDO_CALL:
                raise LinkError(f"{who}: incorrect bpf_call opcode")
            if not symbol.shndx or symbol.shndx != self.text:
                raise LinkError(f"{who}: bad call relo against '{symbol.name}' in section '{section.name}'")
            if symbol.value % INSN_SIZE:
                raise LinkError(f"{who}: bad call relo against '{symbol.name}' at offset {symbol.value}")
            return None
        if not 0 < symbol.shndx < SHN_LORESERVE:
            text = f"invalid relo against '{symbol.name}' in special section {symbol.shndx:#x}"
            raise LinkError(f"{who}: {text}; forgot to initialize global var?")
        if self._is_subprogram(symbol):
            if symbol.value % INSN_SIZE or insn.imm % INSN_SIZE:
                text = f"bad subprog addr relo against '{symbol.name}' at offset {symbol.value}+{insn.imm}"
                raise LinkError(f"{who}: {text}")
            return None
        return self._data_reference(who, slot, symbol, insn)

    def _data_reference(self, who: str, slot: int, symbol: ElfSymbol, insn: Instruction) -> Reference:
        section = self.image.sections[symbol.shndx]
        if section.name == ".addr_space.1":
            if self.arena is None:
                raise LinkError(f"{who}: bad arena data relocation at insn {slot}, no arena maps defined")
            return Reference(slot, ReferenceKind.MAP_VALUE, self.arena.name, symbol.value + insn.imm)
        if section.name == ".jumptables":
            return Reference(slot, ReferenceKind.JUMP_TABLE, symbol.name, symbol.value)
        declared = self.map_at.get((symbol.shndx, symbol.value))
        if declared is not None:
            return Reference(slot, ReferenceKind.MAP, declared.name)
        data = self.data_at.get(symbol.shndx)
        if data is not None:
            return Reference(slot, ReferenceKind.MAP_VALUE, data.name, symbol.value + insn.imm)
        raise LinkError(f"{who}: bad map relo against '{symbol.name}' in section '{section.name}'")


def _exception_callbacks(btf: Btf | None) -> dict[str, list[str]]:
    """By program, what the tags ``exception_callback:NAME`` of its FUNC name."""
    found: dict[str, list[str]] = {}
    if btf is None:
        return found
    for type_id in btf.own_of_kind(Kind.DECL_TAG):
        tag = btf.type(type_id)
        if isinstance(tag, DeclTag) and tag.component == -1 and tag.name.startswith(_EXCEPTION_CALLBACK):
            tagged = btf.type(tag.type_id)
            if isinstance(tagged, Func):
                found.setdefault(tagged.name, []).append(tag.name.removeprefix(_EXCEPTION_CALLBACK))
    return found
