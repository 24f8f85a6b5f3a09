# SPDX-License-Identifier: Apache-2.0
"""Functions of an object's code sections, before they are linked into programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from holdfast.btf.ext import BtfExt, CoreRelo, LineInfo
from holdfast.elf.image import (
    STB_LOCAL,
    STT_FUNC,
    STV_HIDDEN,
    STV_INTERNAL,
    ElfImage,
    ElfRelocation,
    ElfSection,
    fail,
)
from holdfast.elf.maps import Refusal
from holdfast.insn import INSN_SIZE, Instruction, decode

__all__ = ["Function", "read_functions"]

_T = TypeVar("_T", CoreRelo, LineInfo)


@dataclass(frozen=True, slots=True)
class Function:
    """A function symbol with its code; ``index`` counts the object's functions, ``slot`` is its place in the
    section, records are relative to its start.
    """

    index: int
    name: str
    section: ElfSection
    slot: int
    insns: tuple[Instruction, ...] = field(repr=False)
    relocations: tuple[tuple[int, ElfRelocation], ...] = field(repr=False)
    core_relos: tuple[tuple[int, CoreRelo], ...] = field(repr=False)
    lines: tuple[tuple[int, LineInfo], ...] = field(repr=False)
    func_type_id: int | None
    is_global: bool

    @property
    def is_subprog(self) -> bool:
        """libbpf takes what stands in .text for subprograms (``prog_is_subprog()``)."""
        return self.section.name == ".text"


def read_functions(image: ElfImage, ext: BtfExt) -> list[Function]:
    """All functions, by section and place (``bpf_object__add_programs()``).

    Raises :exc:`~holdfast.elf.maps.Refusal` for a static function outside .text, and
    :exc:`~holdfast.errors.ObjectFileError` for a function that does not fit its section.
    """
    relocations: dict[int, list[ElfRelocation]] = {}
    for _, target, rows in image.relocations():
        if target.is_code:
            relocations.setdefault(target.index, []).extend(rows)
    functions: list[Function] = []
    for section in image.sections:
        if not section.is_code:
            continue
        symbols = [s for s in image.symbols if s.shndx == section.index and s.type == STT_FUNC]
        rows = sorted(relocations.get(section.index, []), key=lambda row: row.offset)
        for symbol in sorted(symbols, key=lambda s: s.value):
            start, end = symbol.value, symbol.value + symbol.size
            if symbol.size == 0 or start % INSN_SIZE or symbol.size % INSN_SIZE or end > section.size:
                problem = f"function '{symbol.name}' at {start:#x} of {symbol.size} bytes does not fit"
                raise fail(image.path, section, problem)
            if symbol.bind == STB_LOCAL and section.name != ".text":
                message = f"sec '{section.name}': program '{symbol.name}' is static and not supported"
                raise Refusal(message, "bpf_object__add_programs", "make the program global")
            hidden = symbol.visibility in (STV_HIDDEN, STV_INTERNAL)
            functions.append(
                Function(
                    len(functions),
                    symbol.name,
                    section,
                    start // INSN_SIZE,
                    decode(section.data[start:end], image.byteorder),
                    tuple((_slot(r.offset, start), r) for r in rows if start <= r.offset < end),
                    _inside(ext.core_relos.get(section.name, []), start, end),
                    _inside(ext.lines.get(section.name, []), start, end),
                    next((f.type_id for f in ext.funcs.get(section.name, []) if f.insn_off == start), None),
                    symbol.bind != STB_LOCAL and not hidden,
                )
            )
    return functions


def _slot(offset: int, start: int) -> int:
    return (offset - start) // INSN_SIZE


def _inside(rows: list[_T], start: int, end: int) -> tuple[tuple[int, _T], ...]:
    return tuple((_slot(row.insn_off, start), row) for row in rows if start <= row.insn_off < end)
