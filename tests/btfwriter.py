# SPDX-License-Identifier: Apache-2.0
"""Write BTF and .BTF.ext for tests: one method per kind, each returns the new type's id."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from holdfast.btf import Btf
from holdfast.btf.types import Kind

__all__ = ["BOOL", "CHAR", "SIGNED", "BtfWriter", "core_ext"]

SIGNED, CHAR, BOOL = 1, 2, 4
MemberRow = tuple[str, int, int] | tuple[str, int, int, int]


class BtfWriter:
    """Collects types. With ``base`` it writes split BTF: ids and string offsets go on after the base's."""

    def __init__(self, byteorder: str = "little", base: Btf | None = None) -> None:
        self.order = "<" if byteorder == "little" else ">"
        self.base = base
        self.next_id = len(base) if base else 1
        self.str_start = base.str_len if base else 0
        self.strings = bytearray(b"" if base else b"\0")
        self.offsets: dict[str, int] = {"": 0}
        self.types = bytearray()

    def string(self, text: str) -> int:
        if text not in self.offsets:
            self.offsets[text] = self.str_start + len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.offsets[text]

    def pack(self, form: str, *values: int) -> bytes:
        return struct.pack(self.order + form, *values)

    def add(
        self, kind: int, name: str, size_or_type: int, body: bytes = b"", vlen: int = 0, flag: bool = False
    ) -> int:
        info = int(flag) << 31 | kind << 24 | vlen
        self.types += self.pack("III", self.string(name), info, size_or_type) + body
        self.next_id += 1
        return self.next_id - 1

    def integer(
        self,
        name: str = "int",
        size: int = 4,
        encoding: int = SIGNED,
        bits: int | None = None,
        offset: int = 0,
    ) -> int:
        word = encoding << 24 | offset << 16 | (size * 8 if bits is None else bits)
        return self.add(Kind.INT, name, size, self.pack("I", word))

    def ptr(self, type_id: int) -> int:
        return self.add(Kind.PTR, "", type_id)

    def array(self, type_id: int, nelems: int, index_id: int = 1) -> int:
        return self.add(Kind.ARRAY, "", 0, self.pack("III", type_id, index_id, nelems))

    def composite(self, kind: Kind, name: str, size: int, members: Sequence[MemberRow]) -> int:
        """Members are (name, type id, offset in bits[, size in bits of a bit field])."""
        flag = any(len(member) == 4 for member in members)
        body = b""
        for member in members:
            bits = member[3] if len(member) == 4 else 0
            body += self.pack("III", self.string(member[0]), member[1], bits << 24 | member[2])
        return self.add(kind, name, size, body, len(members), flag)

    def struct(self, name: str, size: int, *members: MemberRow) -> int:
        return self.composite(Kind.STRUCT, name, size, members)

    def union(self, name: str, size: int, *members: MemberRow) -> int:
        return self.composite(Kind.UNION, name, size, members)

    def enum(self, name: str, *values: tuple[str, int], size: int = 4, signed: bool = False) -> int:
        body = b"".join(self.pack("II", self.string(n), v & 0xFFFFFFFF) for n, v in values)
        return self.add(Kind.ENUM, name, size, body, len(values), signed)

    def enum64(self, name: str, *values: tuple[str, int], size: int = 8, signed: bool = False) -> int:
        body = b"".join(
            self.pack("III", self.string(n), v & 0xFFFFFFFF, v >> 32 & 0xFFFFFFFF) for n, v in values
        )
        return self.add(Kind.ENUM64, name, size, body, len(values), signed)

    def fwd(self, name: str, union: bool = False) -> int:
        return self.add(Kind.FWD, name, 0, flag=union)

    def typedef(self, name: str, type_id: int) -> int:
        return self.add(Kind.TYPEDEF, name, type_id)

    def modifier(self, kind: Kind, type_id: int, name: str = "") -> int:
        return self.add(kind, name, type_id)

    def const(self, type_id: int) -> int:
        return self.add(Kind.CONST, "", type_id)

    def proto(self, returns: int, *params: tuple[str, int]) -> int:
        body = b"".join(self.pack("II", self.string(n), t) for n, t in params)
        return self.add(Kind.FUNC_PROTO, "", returns, body, len(params))

    def func(self, name: str, proto_id: int, linkage: int = 1) -> int:
        return self.add(Kind.FUNC, name, proto_id, vlen=linkage)

    def var(self, name: str, type_id: int, linkage: int = 1) -> int:
        return self.add(Kind.VAR, name, type_id, self.pack("I", linkage))

    def datasec(self, name: str, size: int, *variables: tuple[int, int, int]) -> int:
        body = b"".join(self.pack("III", *row) for row in variables)
        return self.add(Kind.DATASEC, name, size, body, len(variables))

    def floating(self, name: str, size: int) -> int:
        return self.add(Kind.FLOAT, name, size)

    def decl_tag(self, name: str, type_id: int, component: int = -1) -> int:
        return self.add(Kind.DECL_TAG, name, type_id, self.pack("i", component))

    def raw(self) -> bytes:
        header = self.pack(
            "HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings)
        )
        return header + bytes(self.types) + bytes(self.strings)

    def btf(self, origin: str = "test") -> Btf:
        return Btf.from_bytes(self.raw(), base=self.base, origin=origin)


def core_ext(btf: BtfWriter, relos: dict[str, Sequence[tuple[int, int, str, int]]]) -> bytes:
    """.BTF.ext with CO-RE relocations alone: by section, (offset in bytes, type id, accessor, kind).

    Call it before ``btf.raw()``: it adds strings.
    """
    pack = btf.pack
    table = pack("I", 16)
    for section, rows in relos.items():
        table += pack("II", btf.string(section), len(rows))
        for offset, type_id, access, kind in rows:
            table += pack("IIII", offset, type_id, btf.string(access), kind)
    # libbpf wants the func_info and line_info tables at their place even when they are empty
    return pack("HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, 0, 0, 0, 0, len(table)) + table
