# SPDX-License-Identifier: Apache-2.0
"""Functions of an object's code sections, before they are linked into programs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from holdfast.btf.ext import BtfExt, CoreRelo, LineInfo
from holdfast.elf.image import (
    STB_LOCAL,
    STT_FUNC,
    STV_HIDDEN,
    STV_INTERNAL,
    ElfImage,
    ElfRelocation,
    ElfSection,
    ElfSymbol,
    fail,
)
from holdfast.elf.maps import Refusal
from holdfast.insn import INSN_SIZE, Instruction, decode

__all__ = ["Function", "find_function", "read_functions"]

# Symbols may share code (aliases), but a file in which each of thousands covers a whole section would be
# read that many times over.
MAX_ALIASES: Final = 16

_T = TypeVar("_T", CoreRelo, LineInfo, ElfRelocation)


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
    is_global: bool  # for the verifier: hidden ones are not
    is_static: bool

    @property
    def is_subprog(self) -> bool:
        """libbpf takes what stands in .text for subprograms (``prog_is_subprog()``)."""
        return self.section.name == ".text"


def read_functions(image: ElfImage, ext: BtfExt) -> tuple[list[Function], list[Refusal]]:
    """All functions, by section and place (``bpf_object__add_programs()``), and what libbpf refuses of them:
    static ones outside .text.

    Raises :exc:`~holdfast.errors.ObjectFileError` for a function that does not fit its section.
    """
    relocations: dict[int, list[ElfRelocation]] = {}
    for target, rows in image.relocations(lambda section: section.is_code):
        relocations.setdefault(target.index, []).extend(rows)
    symbols: dict[int, list[ElfSymbol]] = {}
    for symbol in image.symbols:
        if symbol.type == STT_FUNC:
            symbols.setdefault(symbol.shndx, []).append(symbol)
    functions: list[Function] = []
    for section in image.sections:
        if section.is_code and section.index in symbols:
            rows = relocations.get(section.index, [])
            functions += _section(image, section, symbols[section.index], rows, ext, len(functions))
    refused = [_static(f.name, f.section.name) for f in functions if f.is_static and not f.is_subprog]
    return functions, refused


def _static(name: str, section: str) -> Refusal:
    message = f"sec '{section}': program '{name}' is static and not supported"
    return Refusal(message, "bpf_object__add_programs", "make the program global")


def _section(
    image: ElfImage,
    section: ElfSection,
    symbols: list[ElfSymbol],
    relocations: list[ElfRelocation],
    ext: BtfExt,
    first: int,
) -> list[Function]:
    """The functions of one code section; ``first`` is the number of the first."""
    placed = sorted(symbols, key=lambda s: s.value)
    for symbol in placed:
        _check(image, section, symbol)
    if sum(s.size for s in placed) > MAX_ALIASES * section.size:
        raise fail(image.path, section, f"its {len(placed)} functions overlap more than {MAX_ALIASES} times")
    starts = [symbol.value for symbol in placed]
    relos = _Rows(relocations, [row.offset for row in relocations])
    core = ext.core_relos.get(section.name, [])
    core_relos = _Rows(core, [row.insn_off for row in core])
    line_info = ext.lines.get(section.name, [])
    lines = _Rows(line_info, [row.insn_off for row in line_info])
    types: dict[int, int] = {}
    for func in ext.funcs.get(section.name, []):
        types.setdefault(func.insn_off, func.type_id)
    functions = []
    for number, symbol in enumerate(placed):
        start, end = symbol.value, symbol.value + symbol.size
        # libbpf looks up whose a relocation is by bisection: of aliases it is the last one's
        last = bisect_right(starts, start) - 1 == number
        mine = min(end, starts[number + 1]) if number + 1 < len(starts) else end
        hidden = symbol.visibility in (STV_HIDDEN, STV_INTERNAL)
        functions.append(
            Function(
                first + number,
                symbol.name,
                section,
                start // INSN_SIZE,
                decode(section.data[start:end], image.byteorder),
                relos.between(start, mine) if last else (),
                core_relos.between(start, mine) if last else (),
                lines.between(start, end),
                types.get(start),
                symbol.bind != STB_LOCAL and not hidden,
                symbol.bind == STB_LOCAL,
            )
        )
    return functions


def _check(image: ElfImage, section: ElfSection, symbol: ElfSymbol) -> None:
    start, end = symbol.value, symbol.value + symbol.size
    if symbol.size == 0 or start % INSN_SIZE or symbol.size % INSN_SIZE or end > section.size:
        problem = f"function '{symbol.name}' at {start:#x} of {symbol.size} bytes does not fit"
        raise fail(image.path, section, problem)


class _Rows(Generic[_T]):
    """Records of one section by the offset in bytes that each stands at, in a stable order."""

    def __init__(self, rows: Sequence[_T], offsets: Iterable[int]) -> None:
        pairs = list(zip(offsets, rows, strict=True))
        self.pairs: list[tuple[int, _T]] = sorted(pairs, key=lambda pair: pair[0])
        self.offsets: list[int] = [offset for offset, _ in self.pairs]

    def between(self, start: int, end: int) -> tuple[tuple[int, _T], ...]:
        """(slot in the function, record) of those at ``start`` or after it and before ``end``."""
        at, stop = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        return tuple(((offset - start) // INSN_SIZE, row) for offset, row in self.pairs[at:stop])


def find_function(functions: Sequence[Function], section_index: int, slot: int) -> Function | None:
    """The function of that section whose code holds ``slot``, as ``find_prog_by_sec_insn()`` of libbpf finds
    it.

    ``functions`` are those of :func:`read_functions`, in its order.
    """
    place = (section_index, slot)
    at = bisect_right(functions, place, key=lambda function: (function.section.index, function.slot)) - 1
    if at < 0:
        return None
    found = functions[at]
    inside = found.section.index == section_index and slot < found.slot + len(found.insns)
    return found if inside else None
