# SPDX-License-Identifier: Apache-2.0
"""Write x86-64 code and images of kernels around it, for tests of what reads such code."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ABS", "UNDEFINED", "Code", "Image", "Module", "set8"]

_REGISTERS: Final = {"eax": 0, "ecx": 1, "edx": 2, "ebx": 3, "esp": 4, "ebp": 5, "esi": 6, "edi": 7}
_ALLOC, _WRITE, _EXEC = 2, 1, 4
UNDEFINED, ABS = 0, 0xFFF1


def set8(header: int, *pairs: tuple[int, int]) -> bytes:
    """A BTF_SET8: (id, KF_ bits) in the order given."""
    return struct.pack(f"<{2 + 2 * len(pairs)}I", len(pairs), header, *(n for pair in pairs for n in pair))


@dataclass
class Code:
    """Instructions from an address on. Targets are addresses, or names of labels, also of later ones."""

    base: int
    data: bytearray = field(default_factory=bytearray)
    labels: dict[str, int] = field(default_factory=dict)
    _open: list[tuple[int, str]] = field(default_factory=list)

    @property
    def here(self) -> int:
        return self.base + len(self.data)

    def raw(self, text: str) -> Code:
        self.data += bytes.fromhex(text)
        return self

    def label(self, name: str) -> Code:
        self.labels[name] = self.here
        return self

    def mov(self, register: str, value: int) -> Code:
        """32 bits, which clears the upper half."""
        self.data += bytes([0xB8 + _REGISTERS[register]]) + struct.pack("<I", value & 0xFFFFFFFF)
        return self

    def address(self, register: str, value: int) -> Code:
        """``mov $imm32,%r64``, as the kernel takes addresses."""
        self.data += bytes([0x48, 0xC7, 0xC0 + _REGISTERS[register]]) + struct.pack("<I", value & 0xFFFFFFFF)
        return self

    def lea(self, register: str, value: int) -> Code:
        """``lea value(%rip),%r64``."""
        self.data += bytes([0x48, 0x8D, 0x05 | _REGISTERS[register] << 3])
        return self._relative(value)

    def copy(self, to: str, source: str, wide: bool = True) -> Code:
        self.data += b"\x48" * wide + bytes([0x89, 0xC0 | _REGISTERS[source] << 3 | _REGISTERS[to]])
        return self

    def xor(self, register: str) -> Code:
        self.data += bytes([0x31, 0xC0 | _REGISTERS[register] * 9])
        return self

    def test(self, register: str) -> Code:
        self.data += bytes([0x85, 0xC0 | _REGISTERS[register] * 9])
        return self

    def push(self, register: str) -> Code:
        self.data += bytes([0x50 + _REGISTERS[register]])
        return self

    def pop(self, register: str) -> Code:
        self.data += bytes([0x58 + _REGISTERS[register]])
        return self

    def call(self, target: int | str) -> Code:
        self.data += b"\xe8"
        return self._relative(target)

    def jmp(self, target: int | str) -> Code:
        self.data += b"\xe9"
        return self._relative(target)

    def jne(self, target: int | str) -> Code:
        self.data += b"\x0f\x85"
        return self._relative(target)

    def je(self, target: int | str) -> Code:
        self.data += b"\x0f\x84"
        return self._relative(target)

    def ret(self) -> Code:
        return self.raw("c3")

    def _relative(self, target: int | str) -> Code:
        if isinstance(target, str):
            self._open.append((len(self.data), target))
            target = 0
        self.data += struct.pack("<I", (target - self.here - 4) & 0xFFFFFFFF)
        return self

    def bytes(self) -> bytes:
        for at, name in self._open:
            distance = self.labels[name] - (self.base + at + 4)
            self.data[at : at + 4] = struct.pack("<I", distance & 0xFFFFFFFF)
        return bytes(self.data)


@dataclass
class Image:
    """An ELF file: sections at addresses, symbols, and for exported ones __ksymtab."""

    machine: int = 62
    sections: list[tuple[str, int, bytes, int]] = field(default_factory=list)
    symbols: list[tuple[str, int]] = field(default_factory=list)

    def section(self, name: str, address: int, data: bytes, *, code: bool = False) -> None:
        self.sections.append((name, address, data, _ALLOC | (_EXEC if code else _WRITE)))

    def export(self, at: int, *rows: tuple[str, int]) -> None:
        """__ksymtab_strings at an address, and __ksymtab 4096 bytes behind it."""
        strings = b"\0"
        table = b""
        for number, (name, address) in enumerate(rows):
            here = at + 4096 + 12 * number
            table += struct.pack("<iii", address - here, at + len(strings) - here - 4, 0)
            strings += name.encode() + b"\0"
        self.section("__ksymtab_strings", at, strings)
        self.section("__ksymtab", at + 4096, table)

    def bytes(self, *, stripped: bool = False) -> bytes:
        sections = list(self.sections)
        rows = [(name, 1, flags, address, data, 0, 0) for name, address, data, flags in sections]
        if not stripped:
            strings = b"\0"
            table = bytes(24)
            for name, value in self.symbols:
                index = 1 + next(
                    i for i, (_, start, data, _) in enumerate(sections) if start <= value <= start + len(data)
                )
                table += struct.pack("<IBBHQQ", len(strings), 2, 0, index, value, 0)
                strings += name.encode() + b"\0"
            rows.append((".symtab", 2, 0, 0, table, len(rows) + 2, 0))
            rows.append((".strtab", 3, 0, 0, strings, 0, 0))
        return _file(2, self.machine, rows)


@dataclass
class Module:
    """A relocatable file: sections, symbols by (name, section, offset), and RELA rows by section."""

    machine: int = 62
    sections: list[tuple[str, bytes, int]] = field(default_factory=list)
    symbols: list[tuple[str, int, int]] = field(default_factory=list)
    relocations: dict[int, list[tuple[int, int, str, int]]] = field(default_factory=dict)

    def section(self, name: str, data: bytes, *, code: bool = False, writable: bool = False) -> int:
        """Its index."""
        self.sections.append((name, data, _ALLOC | (_EXEC if code else 0) | (_WRITE if writable else 0)))
        return len(self.sections)

    def relocate(self, section: int, offset: int, kind: int, symbol: str, addend: int = 0) -> None:
        self.relocations.setdefault(section, []).append((offset, kind, symbol, addend))

    def bytes(self) -> bytes:
        rows = [(name, 1, flags, 0, data, 0, 0) for name, data, flags in self.sections]
        names = [name for name, _, _ in self.symbols]
        symtab = 1 + len(rows) + len(self.relocations)
        for section, its in self.relocations.items():
            table = b"".join(
                struct.pack("<QQq", offset, (1 + names.index(symbol)) << 32 | kind, addend)
                for offset, kind, symbol, addend in its
            )
            rows.append((f".rela{self.sections[section - 1][0]}", 4, 0, 0, table, symtab, section))
        strings = b"\0"
        table = bytes(24)
        for name, index, value in self.symbols:
            table += struct.pack("<IBBHQQ", len(strings), 2, 0, index, value, 0)
            strings += name.encode() + b"\0"
        rows.append((".symtab", 2, 0, 0, table, symtab + 1, 0))
        rows.append((".strtab", 3, 0, 0, strings, 0, 0))
        return _file(1, self.machine, rows)


def _file(kind: int, machine: int, rows: list[tuple[str, int, int, int, bytes, int, int]]) -> bytes:
    """(name, type, flags, address, bytes, link, info) of each section."""
    names = b"\0" + b"".join(row[0].encode() + b"\0" for row in rows) + b".shstrtab\0"
    body = b""
    headers = bytes(64)
    at = 1
    for name, type_, flags, address, data, link, info in [*rows, (".shstrtab", 3, 0, 0, names, 0, 0)]:
        place = 64 + len(body)
        headers += struct.pack("<IIQQQQIIQQ", at, type_, flags, address, place, len(data), link, info, 1, 0)
        at += len(name) + 1
        body += data
    counts = (64, 0, 0, 64, len(rows) + 2, len(rows) + 1)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", kind, machine, 1, 0, 0, 64 + len(body), 0, *counts
    )
    return head + body + headers
