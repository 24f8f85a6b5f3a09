# SPDX-License-Identifier: Apache-2.0
"""The kinds of BTF types, as values.

One class for each ``BTF_KIND_*`` of ``include/uapi/linux/btf.h``. Type ids are positions in the BTF that a
type came from; id 0 is ``void``. Sizes are in bytes, offsets in the unit their name says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

__all__ = [
    "MODIFIERS",
    "Array",
    "BtfType",
    "Composite",
    "Const",
    "Datasec",
    "DeclTag",
    "Enum",
    "Enumerator",
    "Float",
    "Func",
    "FuncLinkage",
    "FuncProto",
    "Fwd",
    "Int",
    "Kind",
    "Member",
    "Modifier",
    "Param",
    "Ptr",
    "Restrict",
    "SectionVar",
    "Struct",
    "TypeTag",
    "Typedef",
    "Union",
    "Unread",
    "Var",
    "VarLinkage",
    "Void",
    "Volatile",
]


class Kind(IntEnum):
    """``BTF_KIND_*``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class VarLinkage(IntEnum):
    """``BTF_VAR_*``."""

    STATIC = 0
    GLOBAL_ALLOCATED = 1
    GLOBAL_EXTERN = 2


class FuncLinkage(IntEnum):
    """``enum btf_func_linkage``."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


@dataclass(frozen=True, slots=True)
class BtfType:
    """Base of all kinds; ``name`` is "" for an anonymous type.

    A kind that adds no field is a plain class with no slots of its own: it inherits all that makes a value,
    and making a dataclass of each would cost a third of the import of this module.
    """

    kind: ClassVar[Kind]
    name: str


class Void(BtfType):
    """Type id 0."""

    __slots__ = ()
    kind = Kind.VOID


@dataclass(frozen=True, slots=True)
class Int(BtfType):
    """An integer; ``bits`` and ``bit_offset`` are its encoding inside ``size`` bytes."""

    kind = Kind.INT
    size: int
    bits: int
    bit_offset: int
    encoding: int  # BTF_INT_SIGNED 1, BTF_INT_CHAR 2, BTF_INT_BOOL 4

    @property
    def signed(self) -> bool:
        return bool(self.encoding & 1)


@dataclass(frozen=True, slots=True)
class Float(BtfType):
    """A floating point number of ``size`` bytes."""

    kind = Kind.FLOAT
    size: int


@dataclass(frozen=True, slots=True)
class Modifier(BtfType):
    """A kind that only points at another type: pointers, typedefs, qualifiers, type tags."""

    type_id: int


class Ptr(Modifier):
    """A pointer."""

    __slots__ = ()
    kind = Kind.PTR


class Typedef(Modifier):
    """A typedef."""

    __slots__ = ()
    kind = Kind.TYPEDEF


class Volatile(Modifier):
    """``volatile``."""

    __slots__ = ()
    kind = Kind.VOLATILE


class Const(Modifier):
    """``const``."""

    __slots__ = ()
    kind = Kind.CONST


class Restrict(Modifier):
    """``restrict``."""

    __slots__ = ()
    kind = Kind.RESTRICT


class TypeTag(Modifier):
    """``__attribute__((btf_type_tag("name")))``."""

    __slots__ = ()
    kind = Kind.TYPE_TAG


@dataclass(frozen=True, slots=True)
class Array(BtfType):
    """``nelems`` elements of ``type_id``; 0 is a flexible array."""

    kind = Kind.ARRAY
    type_id: int
    index_type_id: int
    nelems: int


class Member(NamedTuple):
    """One member; ``bitfield_size`` is in bits and 0 for a member that is no bit field."""

    name: str
    type_id: int
    bit_offset: int
    bitfield_size: int


@dataclass(frozen=True, slots=True)
class Composite(BtfType):
    """A struct or a union of ``size`` bytes."""

    size: int
    members: tuple[Member, ...]


class Struct(Composite):
    """A struct."""

    __slots__ = ()
    kind = Kind.STRUCT


class Union(Composite):
    """A union."""

    __slots__ = ()
    kind = Kind.UNION


@dataclass(frozen=True, slots=True)
class Enumerator:
    """One constant of an enumeration."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Enum(BtfType):
    """``BTF_KIND_ENUM`` and ``BTF_KIND_ENUM64`` (``wide``)."""

    size: int
    signed: bool
    values: tuple[Enumerator, ...]
    wide: bool

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return Kind.ENUM64 if self.wide else Kind.ENUM


@dataclass(frozen=True, slots=True)
class Fwd(BtfType):
    """A forward declaration of a struct or (``is_union``) a union."""

    kind = Kind.FWD
    is_union: bool


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; name "" and type_id 0 at the end mean ``...``."""

    name: str
    type_id: int


@dataclass(frozen=True, slots=True)
class FuncProto(BtfType):
    """A function prototype."""

    kind = Kind.FUNC_PROTO
    return_type_id: int
    params: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Func(BtfType):
    """A function; ``type_id`` is its prototype."""

    kind = Kind.FUNC
    type_id: int
    linkage: int


@dataclass(frozen=True, slots=True)
class Var(BtfType):
    """A variable."""

    kind = Kind.VAR
    type_id: int
    linkage: int


@dataclass(frozen=True, slots=True)
class SectionVar:
    """A variable's place in its section, in bytes."""

    type_id: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Datasec(BtfType):
    """A data section with its variables."""

    kind = Kind.DATASEC
    size: int
    variables: tuple[SectionVar, ...]


@dataclass(frozen=True, slots=True)
class DeclTag(BtfType):
    """A tag on a declaration; ``component`` is -1 for the declaration itself, else a member or parameter."""

    kind = Kind.DECL_TAG
    type_id: int
    component: int


@dataclass(frozen=True, slots=True)
class Unread(BtfType):
    """A kind newer than this reader, skipped by the size that the BTF's own layout table gives."""

    number: int

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return Kind.VOID


MODIFIERS = (Typedef, Volatile, Const, Restrict, TypeTag)
"""Kinds that CO-RE skips to reach the type behind (``btf_is_mod`` and typedef in libbpf)."""
