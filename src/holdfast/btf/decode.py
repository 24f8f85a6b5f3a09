# SPDX-License-Identifier: Apache-2.0
"""Decode one BTF type from its bytes (``include/uapi/linux/btf.h``)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from holdfast.btf.types import (
    Array,
    BtfType,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Kind,
    Member,
    Modifier,
    Param,
    Ptr,
    Restrict,
    SectionVar,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Unread,
    Var,
    Volatile,
)

if TYPE_CHECKING:
    from holdfast.btf.reader import Btf

__all__ = ["decode"]

_POINTING: Final[dict[int, type[Modifier]]] = {
    Kind.PTR: Ptr,
    Kind.TYPEDEF: Typedef,
    Kind.VOLATILE: Volatile,
    Kind.CONST: Const,
    Kind.RESTRICT: Restrict,
    Kind.TYPE_TAG: TypeTag,
}


def decode(
    btf: Btf, order: str, data: bytes | memoryview, at: int, name: str, info: int, size_or_type: int
) -> BtfType:
    """The type whose 12-byte header stands at ``at``; what follows the header is read here.

    The index has already checked that the header and the bytes after it lie inside the type section.
    """
    kind, vlen, flag = (info >> 24) & 0x7F, info & 0xFFFFFF, bool(info >> 31)
    body = at + 12
    if pointing := _POINTING.get(kind):
        return pointing(name, size_or_type)
    match kind:
        case Kind.STRUCT | Kind.UNION:
            members = tuple(_members(btf, order, data, body, vlen, flag))
            return (Struct if kind == Kind.STRUCT else Union)(name, size_or_type, members)
        case Kind.INT:
            (word,) = struct.unpack_from(order + "I", data, body)
            return Int(name, size_or_type, word & 0xFF, (word >> 16) & 0xFF, (word >> 24) & 0x0F)
        case Kind.ARRAY:
            type_id, index_type_id, nelems = struct.unpack_from(order + "III", data, body)
            return Array(name, type_id, index_type_id, nelems)
        case Kind.FUNC:
            return Func(name, size_or_type, vlen)
        case Kind.FUNC_PROTO:
            pairs = struct.iter_unpack(order + "II", data[body : body + 8 * vlen])
            return FuncProto(name, size_or_type, tuple(Param(btf.string(n), t) for n, t in pairs))
        case Kind.ENUM:
            pairs = struct.iter_unpack(order + ("Ii" if flag else "II"), data[body : body + 8 * vlen])
            return Enum(
                name, size_or_type, flag, tuple(Enumerator(btf.string(n), v) for n, v in pairs), False
            )
        case Kind.ENUM64:
            values = tuple(_enum64(btf, order, data, body, vlen, flag))
            return Enum(name, size_or_type, flag, values, True)
        case Kind.FWD:
            return Fwd(name, flag)
        case Kind.VAR:
            (linkage,) = struct.unpack_from(order + "I", data, body)
            return Var(name, size_or_type, linkage)
        case Kind.DATASEC:
            rows = struct.iter_unpack(order + "III", data[body : body + 12 * vlen])
            return Datasec(name, size_or_type, tuple(SectionVar(*row) for row in rows))
        case Kind.FLOAT:
            return Float(name, size_or_type)
        case Kind.DECL_TAG:
            (component,) = struct.unpack_from(order + "i", data, body)
            return DeclTag(name, size_or_type, component)
        case _:
            return Unread(name, kind)


def _members(
    btf: Btf, order: str, data: bytes | memoryview, body: int, vlen: int, bitfields: bool
) -> list[Member]:
    """Members; with ``kind_flag`` the offset word holds the bit field's size in its top 8 bits."""
    rows = struct.iter_unpack(order + "III", data[body : body + 12 * vlen])
    if bitfields:
        return [Member(btf.string(n), t, word & 0xFFFFFF, word >> 24) for n, t, word in rows]
    return [Member(btf.string(n), t, word, 0) for n, t, word in rows]


def _enum64(
    btf: Btf, order: str, data: bytes | memoryview, body: int, vlen: int, signed: bool
) -> list[Enumerator]:
    values = []
    for name_off, low, high in struct.iter_unpack(order + "III", data[body : body + 12 * vlen]):
        value = high << 32 | low
        if signed and value >> 63:
            value -= 1 << 64
        values.append(Enumerator(btf.string(name_off), value))
    return values
