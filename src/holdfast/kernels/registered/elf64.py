# SPDX-License-Identifier: Apache-2.0
"""Sections and symbols of a 64-bit little-endian ELF file, as far as kernels and modules need them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from holdfast.errors import KernelFileError

__all__ = ["SHN_ABS", "SHN_UNDEF", "Elf64", "Section", "Symbol"]

SHN_UNDEF: Final = 0
SHN_ABS: Final = 0xFFF1
_SHT_SYMTAB: Final = 2
_SHT_RELA: Final = 4
_SHT_NOBITS: Final = 8
_SHF_WRITE: Final = 1
_SHF_ALLOC: Final = 2
_SHF_EXECINSTR: Final = 4
_LONGEST: Final = 512  # bytes of a name that are looked at; KSYM_NAME_LEN (include/linux/kallsyms.h)
_HINT: Final = "unpack it again; the file is damaged"


@dataclass(frozen=True, slots=True)
class Section:
    """A section header. ``size`` is in bytes, of which the file has none for a ``is_nobits`` one."""

    index: int
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int

    @property
    def is_nobits(self) -> bool:
        return self.type == _SHT_NOBITS

    @property
    def is_rela(self) -> bool:
        return self.type == _SHT_RELA

    @property
    def is_loaded(self) -> bool:
        return bool(self.flags & _SHF_ALLOC)

    @property
    def is_code(self) -> bool:
        return bool(self.flags & _SHF_EXECINSTR)

    @property
    def is_writable(self) -> bool:
        return bool(self.flags & _SHF_WRITE)


@dataclass(frozen=True, slots=True)
class Symbol:
    """``section`` is an index or one of SHN_; ``value`` an offset into it in a module."""

    name: str
    section: int
    value: int


class Elf64:
    """A file taken apart. Raises :exc:`~holdfast.errors.KernelFileError` for one that is no such ELF or whose
    headers point outside it.
    """

    def __init__(self, data: bytes | memoryview, origin: str) -> None:
        self.data = data
        self.origin = origin
        if len(data) < 64 or bytes(data[:6]) != b"\x7fELF\x02\x01":
            raise self._fail(0, "it is no 64-bit little-endian ELF file")
        self.type, self.machine = struct.unpack_from("<HH", data, 16)
        (start,) = struct.unpack_from("<Q", data, 40)
        entry, count, names = struct.unpack_from("<HHH", data, 58)
        if not count:
            self.sections: tuple[Section, ...] = ()
            return
        if entry != 64 or start + 64 * count > len(data):
            raise self._fail(40, "its section headers lie outside it")
        rows = [struct.unpack_from("<IIQQQQIIQQ", data, start + 64 * at) for at in range(count)]
        if names >= count:
            raise self._fail(62, "it has no table of section names")
        strings = bytes(data[rows[names][4] : rows[names][4] + rows[names][5]])
        self.sections = tuple(
            Section(at, _text(strings, name), kind, flags, address, offset, size, link, info, max(1, align))
            for at, (name, kind, flags, address, offset, size, link, info, align, _) in enumerate(rows)
        )
        for section in self.sections:
            if section.type and not section.is_nobits and section.offset + section.size > len(data):
                raise self._fail(section.offset, f"section {section.name} lies outside it")

    def _fail(self, at: int, problem: str) -> KernelFileError:
        return KernelFileError(self.origin, problem, place=f"offset {at:#x}", hint=_HINT)

    def find(self, name: str) -> Section | None:
        """The first section of that name that has bytes."""
        return next((s for s in self.sections if s.name == name and s.size and not s.is_nobits), None)

    def view(self, section: Section) -> memoryview:
        """The section's bytes; none for one without."""
        if section.is_nobits:
            return memoryview(b"")
        return memoryview(self.data)[section.offset : section.offset + section.size]

    def symbols(self) -> list[Symbol]:
        """All of .symtab in file order, the empty first one included; none when the file is stripped."""
        table = next((s for s in self.sections if s.type == _SHT_SYMTAB), None)
        if table is None:
            return []
        if table.link >= len(self.sections):
            raise self._fail(table.offset, ".symtab has no string table")
        strings = bytes(self.view(self.sections[table.link]))
        whole = self.view(table)[: table.size - table.size % 24]
        return [
            Symbol(_text(strings, name), index, value)
            for name, _info, _other, index, value, _size in struct.iter_unpack("<IBBHQQ", whole)
        ]

    def relocations(self, section: Section) -> list[tuple[int, int, int, int]]:
        """(offset, type, symbol, addend) of a SHT_RELA section."""
        whole = self.view(section)[: section.size - section.size % 24]
        return [
            (offset, info & 0xFFFFFFFF, info >> 32, addend)
            for offset, info, addend in struct.iter_unpack("<QQq", whole)
        ]


def _text(strings: bytes, at: int) -> str:
    return strings[at : at + _LONGEST].partition(b"\0")[0].decode("utf-8", "backslashreplace")
