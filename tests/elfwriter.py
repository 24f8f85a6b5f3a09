# SPDX-License-Identifier: Apache-2.0
"""Write ELF objects for tests, right ones and such as no compiler writes.

::

    elf = ElfWriter()
    elf.program("prog", "socket", RETURN_0)
    spec = object_from_bytes(elf.bytes())
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

__all__ = [
    "CALL_LOCAL",
    "EXECUTABLE",
    "GLOBAL",
    "LOCAL",
    "NOBITS",
    "PROGBITS",
    "RETURN_0",
    "WEAK",
    "ElfWriter",
    "insn",
]

PROGBITS, SYMTAB, STRTAB, NOBITS, REL = 1, 2, 3, 8, 9
EXECUTABLE = 6  # SHF_ALLOC | SHF_EXECINSTR
LOCAL, GLOBAL, WEAK = 0, 1, 2
NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3
EM_BPF = 247


def insn(
    opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0, byteorder: str = "little"
) -> bytes:
    """One 8-byte slot."""
    if byteorder == "little":
        return struct.pack("<BBhi", opcode, src << 4 | dst, off, imm)
    return struct.pack(">BBhi", opcode, dst << 4 | src, off, imm)


RETURN_0 = insn(0xB7) + insn(0x95)
CALL_LOCAL = insn(0x85, 0, 1, 0, -1)  # as clang leaves it for a relocation


@dataclass
class _Section:
    name: str
    data: bytes
    type: int
    flags: int
    link: int = 0
    info: int = 0
    entsize: int = 0
    size: int | None = None


@dataclass
class ElfWriter:
    """Collects sections, symbols and relocations; numbers that are returned are their ELF indices."""

    byteorder: str = "little"
    machine: int = EM_BPF
    kind: int = 1  # ET_REL
    sections: list[_Section] = field(default_factory=list)
    symbols: list[tuple[str, int, int, int, int, int, int]] = field(default_factory=list)
    relocations: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    @property
    def order(self) -> str:
        return "<" if self.byteorder == "little" else ">"

    def section(
        self, name: str, data: bytes = b"", *, kind: int = PROGBITS, flags: int = 2, size: int | None = None
    ) -> int:
        """``size`` in bytes is for NOBITS, or to lie about."""
        self.sections.append(_Section(name, data, kind, flags, size=size))
        return len(self.sections)

    def symbol(
        self,
        name: str,
        section: int,
        value: int = 0,
        size: int = 0,
        *,
        bind: int = GLOBAL,
        kind: int = NOTYPE,
        visibility: int = 0,
    ) -> int:
        self.symbols.append((name, section, value, size, bind, kind, visibility))
        return len(self.symbols)

    def program(
        self, name: str, section: str, code: bytes = RETURN_0, *, bind: int = GLOBAL, visibility: int = 0
    ) -> int:
        """A function behind what the section of that name holds already; returns the section's number."""
        number = next((n for n, s in enumerate(self.sections, 1) if s.name == section), 0)
        number = number or self.section(section, flags=EXECUTABLE)
        held = self.sections[number - 1]
        self.symbol(name, number, len(held.data), len(code), bind=bind, kind=FUNC, visibility=visibility)
        held.data += code
        return number

    def extern(self, name: str, *, weak: bool = False) -> int:
        return self.symbol(name, 0, bind=WEAK if weak else GLOBAL)

    def relocation(self, section: int, offset: int, symbol: int, kind: int = 1) -> None:
        """The bytes at ``offset`` of ``section`` refer to that symbol."""
        self.relocations.setdefault(section, []).append((offset, symbol, kind))

    def license(self, text: str = "GPL") -> int:
        return self.section("license", text.encode() + b"\0", flags=3)

    def bytes(self, *, symbol_table: bool = True) -> bytes:
        sections = list(self.sections)
        strings = bytearray(b"\0")
        table = bytearray(24)
        for name, section, value, size, bind, kind, visibility in self.symbols:
            at = len(strings)
            strings += name.encode() + b"\0"
            row = (at, bind << 4 | kind, visibility, section, value, size)
            table += struct.pack(self.order + "IBBHQQ", *row)
        symtab = len(sections) + 1
        if symbol_table:
            sections.append(_Section(".symtab", bytes(table), SYMTAB, 0, symtab + 1, 1, 24))
            sections.append(_Section(".strtab", bytes(strings), STRTAB, 0))
        for number, rows in self.relocations.items():
            data = b"".join(struct.pack(self.order + "QQ", o, s << 32 | t) for o, s, t in rows)
            name = f".rel{self.sections[number - 1].name}"
            sections.append(_Section(name, data, REL, 0, symtab, number, 16))
        return self._lay_out(sections)

    def _lay_out(self, sections: list[_Section]) -> bytes:
        names = bytearray(b"\0")
        offsets = []
        for section in [*sections, _Section(".shstrtab", b"", STRTAB, 0)]:
            offsets.append(len(names))
            names += section.name.encode() + b"\0"
        sections = [*sections, _Section(".shstrtab", bytes(names), STRTAB, 0)]
        body = bytearray(64)
        headers = bytearray(64)
        for name, one in zip(offsets, sections, strict=True):
            body += bytes(-len(body) % 8)
            size = len(one.data) if one.size is None else one.size
            row = (name, one.type, one.flags, 0, len(body), size, one.link, one.info, 8, one.entsize)
            headers += struct.pack(self.order + "IIQQQQIIQQ", *row)
            body += one.data
        body += bytes(-len(body) % 8)
        ident = b"\x7fELF" + bytes((2, 1 if self.byteorder == "little" else 2, 1)) + bytes(9)
        count = len(sections) + 1
        head = (self.kind, self.machine, 1, 0, 0, len(body), 0, 64, 0, 0, 64, count, count - 1)
        body[:64] = ident + struct.pack(self.order + "HHIQQQIHHHHHH", *head)
        return bytes(body + headers)
