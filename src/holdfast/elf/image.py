# SPDX-License-Identifier: Apache-2.0
"""The ELF container of a BPF object: sections, symbols, relocations.

Read here and not by a library: a BPF object has a few tables of fixed layout (elf(5)), which struct reads in
a tenth of the time of a general parser, and neither a NOBITS section nor a compressed one of a hostile file
can make this allocate what the file does not hold.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from holdfast.errors import ObjectFileError

__all__ = ["EM_BPF", "ElfImage", "ElfRelocation", "ElfSection", "ElfSymbol", "read_image"]

EM_BPF: Final = 247
ET_REL: Final = 1
SHT_NULL: Final = 0
SHT_PROGBITS: Final = 1
SHT_SYMTAB: Final = 2
SHT_NOBITS: Final = 8
SHT_REL: Final = 9
SHF_EXECINSTR: Final = 0x4
SHN_UNDEF: Final = 0
SHN_LORESERVE: Final = 0xFF00
SHN_XINDEX: Final = 0xFFFF
STB_LOCAL: Final = 0
STB_WEAK: Final = 2
STT_FUNC: Final = 2
STT_SECTION: Final = 3
STV_INTERNAL: Final = 1
STV_HIDDEN: Final = 2
_HEADER_SIZE: Final = 64  # of Elf64_Ehdr and of Elf64_Shdr alike, in bytes
_SYMBOL_SIZE: Final = 24
_REL_SIZE: Final = 16
# Sections and names of a hostile file may lie over each other, each as long as the file: what is taken out
# of it is bounded as a whole, so that a megabyte cannot become gigabytes.
_MOST_OVERLAP: Final = 4  # times the file's bytes, of all sections together; in a real file none overlap
_MOST_NAMES: Final = 64 << 20  # bytes of all names together


@dataclass(frozen=True, slots=True)
class ElfSection:
    """One section; ``type`` is SHT_*, ``data`` is b"" for NOBITS, ``size`` is in bytes."""

    index: int
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entsize: int
    data: bytes = field(repr=False)

    @property
    def is_code(self) -> bool:
        return self.type == SHT_PROGBITS and bool(self.flags & SHF_EXECINSTR) and self.size > 0


@dataclass(frozen=True, slots=True)
class ElfSymbol:
    """One symbol; ``value`` is an offset in bytes into section ``shndx``."""

    index: int
    name: str
    value: int
    size: int
    bind: int
    type: int
    visibility: int
    shndx: int

    @property
    def is_extern(self) -> bool:
        """Undefined, global or weak, and of no type (``sym_is_extern()`` of libbpf)."""
        return self.shndx == SHN_UNDEF and self.bind != STB_LOCAL and self.type == 0


@dataclass(frozen=True, slots=True)
class ElfRelocation:
    """A SHT_REL entry: the bytes at ``offset`` of its target section refer to ``symbol``."""

    offset: int
    symbol: ElfSymbol
    type: int


@dataclass(frozen=True, slots=True)
class ElfImage:
    """A BPF ELF file in parts; ``byteorder`` is "little" or "big"."""

    path: str
    byteorder: str
    sections: tuple[ElfSection, ...]
    symbols: tuple[ElfSymbol, ...]

    def named(self, name: str) -> ElfSection | None:
        """The first section of that name."""
        return next((s for s in self.sections if s.name == name), None)

    def relocations(
        self, wanted: Callable[[ElfSection], bool]
    ) -> Iterator[tuple[ElfSection, list[ElfRelocation]]]:
        """(target section, entries) for each SHT_REL section whose target is wanted.

        Entries of all others are left unread: those of debug sections are most of a file's relocations.
        """
        order = "<" if self.byteorder == "little" else ">"
        for section in self.sections:
            if section.type != SHT_REL:
                continue
            if section.entsize != _REL_SIZE or section.size % _REL_SIZE or section.info >= len(self.sections):
                raise fail(self.path, section, "a relocation section of impossible entry size or target")
            target = self.sections[section.info]
            if wanted(target):
                rows = struct.iter_unpack(order + "QQ", section.data)
                yield target, [self._relocation(section, *row) for row in rows]

    def _relocation(self, section: ElfSection, offset: int, info: int) -> ElfRelocation:
        number = info >> 32
        if number >= len(self.symbols):
            raise fail(self.path, section, f"a relocation names symbol {number} of {len(self.symbols)}")
        return ElfRelocation(offset, self.symbols[number], info & 0xFFFFFFFF)


def fail(path: str, section: ElfSection, problem: str) -> ObjectFileError:
    """The error for something wrong in a section."""
    place = f"section {section.name or section.index} (offset {section.offset:#x})"
    return ObjectFileError(path, problem, place=place)


def read_image(data: bytes, path: str) -> ElfImage:
    """Read the container. Raises :exc:`~holdfast.errors.ObjectFileError` for all that is no BPF ELF
    object.
    """
    _check_identity(data, path)
    byteorder = "little" if data[5] == 1 else "big"
    sections = _sections(data, "<" if data[5] == 1 else ">", path)
    tables = [s for s in sections if s.type == SHT_SYMTAB]
    if len(tables) > 1:
        raise fail(path, tables[1], "a second symbol table (libbpf refuses that)")
    if not tables:
        raise ObjectFileError(
            path,
            "no symbol table",
            hint="the object was stripped; libbpf cannot read it: strip with `llvm-strip -g` at most",
        )
    return ElfImage(path, byteorder, sections, _symbols(tables[0], sections, byteorder, path))


def _check_identity(data: bytes, path: str) -> None:
    if data[:4] != b"\x7fELF":
        kind = "empty" if not data else f"it begins with {data[:4].hex(' ')}"
        raise ObjectFileError(path, f"not an ELF file ({kind})", hint="give a BPF object that clang made")
    if len(data) < 64:
        raise ObjectFileError(path, f"cut off: {len(data)} bytes hold no ELF header", place="offset 0x0")
    if data[4] != 2:
        raise ObjectFileError(path, "not a 64-bit ELF file", place="offset 0x4", hint="BPF objects are ELF64")
    if data[5] not in (1, 2):
        raise ObjectFileError(path, f"byte order {data[5]} is unknown", place="offset 0x5")
    kind, machine = struct.unpack_from("<HH" if data[5] == 1 else ">HH", data, 16)
    if machine not in (0, EM_BPF):  # very old clang wrote EM_NONE, and libbpf takes it
        hint = "a BPF object embedded in it must be carved out first"
        raise ObjectFileError(
            path, f"ELF for machine {machine}, not for BPF ({EM_BPF})", place="offset 0x12", hint=hint
        )
    if kind != ET_REL:
        hint = "give what clang wrote, not a linked or loaded file"
        raise ObjectFileError(
            path, f"ELF of type {kind}, no object file ({ET_REL})", place="offset 0x10", hint=hint
        )


def _sections(data: bytes, order: str, path: str) -> tuple[ElfSection, ...]:
    """All sections by the section header table. Section 0 holds the numbers that are too large for the file
    header.
    """
    (at,) = struct.unpack_from(order + "Q", data, 40)
    entry, count, names_index = struct.unpack_from(order + "HHH", data, 58)
    if at == 0 or at + _HEADER_SIZE > len(data):
        raise ObjectFileError(
            path,
            "the section headers lie outside the file (cut off?)",
            place="offset 0x28",
            hint="copy or build it again",
        )
    header = struct.Struct(order + "IIQQQQIIQQ")
    first = header.unpack_from(data, at)
    count = count or first[5]
    names_index = first[6] if names_index == SHN_XINDEX else names_index
    end = at + count * _HEADER_SIZE
    if entry != _HEADER_SIZE or end > len(data):
        raise ObjectFileError(path, f"{count} section headers do not fit the file", place="offset 0x3c")
    headers = list(header.iter_unpack(data[at:end]))
    if names_index >= count:
        raise ObjectFileError(path, f"no section {names_index} to hold the names", place="offset 0x3e")
    names_at, names_size = headers[names_index][4:6]
    names = _Names(data[names_at : names_at + names_size], path)
    sections = []
    left = _MOST_OVERLAP * len(data)
    for index, (name_at, kind, flags, _, offset, size, link, info, _, entsize) in enumerate(headers):
        name = names.at(name_at)
        body = b""
        if kind not in (SHT_NOBITS, SHT_NULL):
            if offset + size > len(data):
                place = f"section {name or index} (offset {offset:#x})"
                raise ObjectFileError(path, f"its {size} bytes run past the end of the file", place=place)
            left -= size
            if left < 0:
                raise ObjectFileError(
                    path, "its sections lie over each other", place=f"section {name or index}"
                )
            body = data[offset : offset + size]
        sections.append(ElfSection(index, name, kind, flags, offset, size, link, info, entsize, body))
    return tuple(sections)


def _symbols(
    table: ElfSection, sections: tuple[ElfSection, ...], byteorder: str, path: str
) -> tuple[ElfSymbol, ...]:
    if table.size % _SYMBOL_SIZE or not 0 < table.link < len(sections):
        raise fail(path, table, "a symbol table of impossible size or without strings")
    strings = _Names(sections[table.link].data, path)
    rows = struct.iter_unpack(("<" if byteorder == "little" else ">") + "IBBHQQ", table.data)
    symbols = []
    for index, (name, info, other, shndx, value, size) in enumerate(rows):
        text = strings.at(name)
        symbols.append(ElfSymbol(index, text, value, size, info >> 4, info & 0xF, other & 3, shndx))
    return tuple(symbols)


class _Names:
    """A string table, and how much of it may still be asked for."""

    def __init__(self, table: bytes, path: str) -> None:
        self._table = table
        self._path = path
        self._left = _MOST_NAMES

    def at(self, offset: int) -> str:
        end = self._table.find(b"\0", offset)
        name = self._table[offset : end if end >= 0 else len(self._table)]
        self._left -= len(name)
        if self._left < 0:
            raise ObjectFileError(self._path, f"its names have more than {_MOST_NAMES >> 20} MiB together")
        return name.decode("utf-8", "backslashreplace")
