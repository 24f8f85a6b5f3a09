# SPDX-License-Identifier: Apache-2.0
"""A module's ELF file as a :class:`~holdfast.kernels.registered.space.Space`, x86-64.

Sections are laid out at addresses of our own, and what the module takes from elsewhere stands at places
that hold nothing. Then its relocations are carried out as apply_relocate_add() does in
arch/x86/kernel/module.c.
"""

from __future__ import annotations

from typing import Final

from holdfast.kernels.registered.elf64 import SHN_ABS, SHN_UNDEF, Elf64
from holdfast.kernels.registered.space import Names, Segment, Space

__all__ = ["module"]

_BASE: Final = 0x1000_0000  # all within 2 GiB, so that 32 bits reach
_FOREIGN: Final = 0x6000_0000
_STEP: Final = 16
_R_X86_64_64: Final = 1
_R_X86_64_PC32: Final = 2
_R_X86_64_PLT32: Final = 4
_R_X86_64_32: Final = 10
_R_X86_64_32S: Final = 11
_R_X86_64_PC64: Final = 24
_WIDTHS: Final = {
    _R_X86_64_64: 8,
    _R_X86_64_PC32: 4,
    _R_X86_64_PLT32: 4,
    _R_X86_64_32: 4,
    _R_X86_64_32S: 4,
    _R_X86_64_PC64: 8,
}
_PC: Final = frozenset({_R_X86_64_PC32, _R_X86_64_PLT32, _R_X86_64_PC64})
# What is in these is for other readers, and can have more relocations than all code.
_SKIPPED: Final = (
    ".debug",
    ".discard",
    "__mcount_loc",
    "__bug_table",
    "__jump_table",
    ".orc",
    ".return_sites",
)


def module(elf: Elf64) -> Space:
    """All of it that would be loaded; names are its own symbols and those that it takes from elsewhere."""
    at = _BASE
    bases: dict[int, int] = {}
    contents: dict[int, bytearray] = {}
    for section in elf.sections:
        if section.is_loaded:
            at = (at + section.align - 1) // section.align * section.align
            bases[section.index] = at
            at += section.size + _STEP
            contents[section.index] = bytearray(elf.view(section))
    symbols = elf.symbols()
    places = [0] * len(symbols)
    rows = []
    foreign = _FOREIGN
    for number, symbol in enumerate(symbols):
        if symbol.section == SHN_UNDEF:
            places[number] = foreign
            foreign += _STEP
        elif symbol.section == SHN_ABS:
            places[number] = symbol.value
        elif symbol.section in bases:
            places[number] = bases[symbol.section] + symbol.value
        if symbol.name and places[number]:
            rows.append((places[number], symbol.name))
    for section in elf.sections:
        target = contents.get(section.info) if section.is_rela else None
        if target and not elf.sections[section.info].name.startswith(_SKIPPED):
            _relocate(target, bases[section.info], elf.relocations(section), places)
    rows.sort()
    return Space(
        [
            Segment(
                elf.sections[index].name,
                base,
                contents[index],
                elf.sections[index].is_code,
                not elf.sections[index].is_writable,
            )
            for index, base in bases.items()
        ],
        Names([place for place, _ in rows], [name for _, name in rows]),
    )


def _relocate(target: bytearray, base: int, rows: list[tuple[int, int, int, int]], places: list[int]) -> None:
    for offset, kind, symbol, addend in rows:
        width = _WIDTHS.get(kind)
        if width is None or offset + width > len(target) or symbol >= len(places):
            continue
        value = places[symbol] + addend
        if kind in _PC:
            value -= base + offset
        target[offset : offset + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
