# SPDX-License-Identifier: Apache-2.0
"""A spec: an access through a type, as an accessor string such as "0:1:2" describes it.

``bpf_core_parse_spec()`` and ``bpf_core_format_spec()`` of libbpf's relo_core.c set the rules.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from holdfast.btf import Btf
from holdfast.btf.ext import CoreRelo, CoreReloKind
from holdfast.btf.skip import UnsizedError, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Array, BtfType, Composite, Enum, Kind
from holdfast.relo.failure import Refused
from holdfast.relo.target import Side

__all__ = [
    "BPF_CORE_SPEC_MAX_LEN",
    "ENUMVAL_BASED",
    "FIELD_BASED",
    "TYPE_BASED",
    "UINT32_MAX",
    "ZERO_WHEN_MISSING",
    "Accessor",
    "Spec",
    "is_flex_arr",
    "kind_word",
    "parse_spec",
]

BPF_CORE_SPEC_MAX_LEN: Final = 64
UINT32_MAX: Final = 0xFFFFFFFF
_INT32_MAX: Final = 0x7FFFFFFF
_DIGITS: Final = 64  # of one index; int() takes 4300, and a file may have a million
_INDEX: Final = re.compile(r":?[ \t\n\v\f\r]*([+-]?[0-9]+)")

FIELD_BASED: Final = frozenset(range(CoreReloKind.FIELD_BYTE_OFFSET, CoreReloKind.FIELD_RSHIFT_U64 + 1))
TYPE_BASED: Final = frozenset(
    map(
        int,
        (
            CoreReloKind.TYPE_ID_LOCAL,
            CoreReloKind.TYPE_ID_TARGET,
            CoreReloKind.TYPE_EXISTS,
            CoreReloKind.TYPE_SIZE,
            CoreReloKind.TYPE_MATCHES,
        ),
    )
)
ENUMVAL_BASED: Final = frozenset(map(int, (CoreReloKind.ENUMVAL_EXISTS, CoreReloKind.ENUMVAL_VALUE)))
ZERO_WHEN_MISSING: Final = TYPE_BASED | {int(CoreReloKind.FIELD_EXISTS), int(CoreReloKind.ENUMVAL_EXISTS)}
"""Kinds that answer 0 where the kernel has no match; for the others the instruction is poisoned."""

_WORDS: Final = {
    Kind.VOID: "void",
    Kind.INT: "int",
    Kind.PTR: "ptr",
    Kind.ARRAY: "array",
    Kind.STRUCT: "struct",
    Kind.UNION: "union",
    Kind.ENUM: "enum",
    Kind.FWD: "fwd",
    Kind.TYPEDEF: "typedef",
    Kind.VOLATILE: "volatile",
    Kind.CONST: "const",
    Kind.RESTRICT: "restrict",
    Kind.FUNC: "func",
    Kind.FUNC_PROTO: "func_proto",
    Kind.VAR: "var",
    Kind.DATASEC: "datasec",
    Kind.FLOAT: "float",
    Kind.DECL_TAG: "decl_tag",
    Kind.TYPE_TAG: "type_tag",
    Kind.ENUM64: "enum64",
}


def kind_word(found: BtfType) -> str:
    """libbpf's word for a type's kind (``btf_kind_str()``)."""
    return _WORDS[found.kind]


class Accessor(NamedTuple):
    """A turning point of an access: field ``name`` (member ``idx`` of ``type_id``), or element ``idx`` if
    name is None.
    """

    type_id: int
    idx: int
    name: str | None


@dataclass(frozen=True, slots=True)
class Spec:
    """An access. ``raw`` has one index per level, ``accessors`` only named fields and array elements.

    ``bit_offset`` is in bits from the start of the root type, modulo 2**32 as in libbpf.
    """

    side: Side
    root_type_id: int
    kind: CoreReloKind
    accessors: tuple[Accessor, ...]
    raw: tuple[int, ...]
    bit_offset: int

    @property
    def btf(self) -> Btf:
        return self.side.btf

    def __str__(self) -> str:
        """As libbpf prints it: ``<byte_off> [36] struct task_struct.pid (0:2 @ offset 4)``."""
        btf = self.btf
        root = btf.type(self.root_type_id)
        text = f"<{self.kind.label}> [{self.root_type_id}] {kind_word(root)} {root.name or '<anon>'}"
        if self.kind in TYPE_BASED:
            return text
        if self.kind in ENUMVAL_BASED:
            _, enum = skip_mods_and_typedefs(btf, self.root_type_id)
            if isinstance(enum, Enum) and self.raw and self.raw[0] < len(enum.values):
                enumerator = enum.values[self.raw[0]]
                text += f"::{enumerator.name} = {enumerator.value}"
            return text
        for at, accessor in enumerate(self.accessors):
            if accessor.name is not None:
                text += f".{accessor.name}"
            elif at or accessor.idx:
                text += f"[{accessor.idx}]"
        byte, bit = divmod(self.bit_offset, 8)
        offset = f"{byte}.{bit}" if bit else f"{byte}"
        return f"{text} ({':'.join(map(str, self.raw))} @ offset {offset})"


def is_flex_arr(btf: Btf, before: Accessor, array: Array) -> bool:
    """Whether an array is a flexible one: no elements, and the last member of the struct it stands in."""
    if before.name is None or array.nelems > 0:
        return False
    holder = btf.type(before.type_id)
    return isinstance(holder, Composite) and before.idx == len(holder.members) - 1


def parse_spec(relo: CoreRelo, side: Side) -> Spec:
    """The local spec of a relocation. Raises :exc:`Refused` with libbpf's errno where the accessor is
    impossible.
    """
    btf, access = side.btf, relo.access
    if not access or access[0] == ":":
        raise Refused(errno.EINVAL, "no accessor")
    if not isinstance(relo.kind, CoreReloKind):
        raise Refused(errno.EINVAL, f"relocation kind {relo.kind} is not known")
    kind = relo.kind
    if kind in TYPE_BASED:
        if access != "0":
            raise Refused(errno.EINVAL, "a relocation of a type takes no accessor")
        return Spec(side, relo.type_id, kind, (), (), 0)
    raw = _indices(access)
    type_id, found = skip_mods_and_typedefs(btf, relo.type_id)
    if kind in ENUMVAL_BASED:
        if not isinstance(found, Enum) or len(raw) > 1 or raw[0] >= len(found.values):
            raise Refused(errno.EINVAL, "no such enumerator")
        return Spec(side, relo.type_id, kind, (Accessor(type_id, raw[0], found.values[raw[0]].name),), raw, 0)
    try:
        accessors, bit_offset = _walk(side, type_id, raw)
    except UnsizedError as error:
        raise Refused(error.errno, error.message) from None
    return Spec(side, relo.type_id, kind, accessors, raw, bit_offset)


def _indices(access: str) -> tuple[int, ...]:
    raw: list[int] = []
    at = 0
    while at < len(access):
        index = _INDEX.match(access, at)
        # libbpf before 1.8 takes a negative index and reads before the member table: undefined, so refused
        # here
        if not index or len(index[1]) > _DIGITS or not 0 <= int(index[1]) <= _INT32_MAX:
            raise Refused(errno.EINVAL, f"accessor {access!r} is no list of indices")
        if len(raw) == BPF_CORE_SPEC_MAX_LEN:
            raise Refused(errno.E2BIG, f"accessor is longer than {BPF_CORE_SPEC_MAX_LEN} levels")
        raw.append(int(index[1]))
        at = index.end()
    return tuple(raw)


def _walk(side: Side, type_id: int, raw: tuple[int, ...]) -> tuple[tuple[Accessor, ...], int]:
    btf = side.btf
    accessors = [Accessor(type_id, raw[0], None)]
    bit_offset = raw[0] * resolve_size(btf, type_id, side.pointer_bytes) * 8
    for index in raw[1:]:
        type_id, found = skip_mods_and_typedefs(btf, type_id)
        if isinstance(found, Composite):
            if index >= len(found.members):
                raise Refused(errno.EINVAL, f"member {index} of type [{type_id}] does not exist")
            member = found.members[index]
            bit_offset += member.bit_offset
            if member.name:
                accessors.append(Accessor(type_id, index, member.name))
            type_id = member.type_id
        elif isinstance(found, Array):
            element_id, _ = skip_mods_and_typedefs(btf, found.type_id)
            if index >= found.nelems and not is_flex_arr(btf, accessors[-1], found):
                raise Refused(errno.EINVAL, f"element {index} of array [{type_id}] does not exist")
            accessors.append(Accessor(element_id, index, None))
            bit_offset += index * resolve_size(btf, element_id, side.pointer_bytes) * 8
            type_id = element_id
        else:
            raise Refused(errno.EINVAL, f"type [{type_id}] of unexpected kind {kind_word(found)}")
    return tuple(accessors), bit_offset & UINT32_MAX
