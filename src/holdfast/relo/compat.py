# SPDX-License-Identifier: Apache-2.0
"""When two types are compatible or match: libbpf's three relations between a local and a target type.

- :func:`fields_are_compat`: may this field be read as that one (``bpf_core_fields_are_compat()``);
- :func:`types_are_compat`: for type relocations, kfunc prototypes and typed ksyms
  (``bpf_core_types_are_compat()``);
- :func:`types_match`: ``bpf_core_type_matches()`` in C (``bpf_core_types_match()``, libbpf 1.0).

libbpf's recursion ends by depth only; here a walk also ends after a number of steps, as a file can describe
types whose walk would take longer than anyone waits.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from holdfast.btf import Btf, essential_name
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import (
    Array,
    BtfType,
    Composite,
    Enum,
    Float,
    FuncProto,
    Fwd,
    Int,
    Kind,
    Ptr,
    Struct,
    Union,
    Unread,
    Void,
)
from holdfast.relo.failure import Refused
from holdfast.relo.target import kind_class

__all__ = [
    "Shape",
    "field_fits",
    "field_shape",
    "fields_are_compat",
    "type_shape",
    "types_are_compat",
    "types_match",
]

_MAX_DEPTH: Final = 32  # of a chain of pointers and arrays, and of nested prototypes or members
_MAX_STEPS: Final = 200_000

Shape = tuple[object, ...]
"""All that the compatibility of a field depends on, so that equal shapes of different objects share an
answer.
"""

_NEVER: Final[Shape] = ("never",)


def field_shape(btf: Btf, type_id: int) -> Shape:
    """The :data:`Shape` of a local field's type."""
    arrays = 0
    _, found = skip_mods_and_typedefs(btf, type_id)
    while isinstance(found, Array):
        arrays += 1
        if arrays > _MAX_DEPTH:
            raise Refused(errno.EINVAL, f"array [{type_id}] nests too deep")
        _, found = skip_mods_and_typedefs(btf, found.type_id)
    return (arrays, *_innermost(found))


def _innermost(found: BtfType) -> Shape:
    match found:
        case Composite():
            return ("composite",)
        case Ptr() | Float():
            return (kind_class(found.kind),)
        case Fwd() | Enum():
            return (kind_class(found.kind), essential_name(found.name))
        case Int():
            # libbpf rejects integers that are bit fields by their own encoding, which compilers no longer
            # make
            return (kind_class(found.kind),) if found.bit_offset == 0 else _NEVER
        case _:
            return _NEVER


def field_fits(shape: Shape, btf: Btf, type_id: int) -> bool:
    """Whether a target field may be read as a local one of this shape."""
    mine = field_shape(btf, type_id)
    if mine == shape:
        return mine[1:] != _NEVER
    if mine[:2] != shape[:2] or len(mine) != 3:
        return False
    return not mine[2] or not shape[2]  # an anonymous enum or forward declaration goes with any name


def fields_are_compat(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether CO-RE lets a program read a target field of one type as a local field of the other.

    Any two composites, pointers or floats are compatible, and any two integers (size and sign are ignored);
    enums and forward declarations when their essential names agree or one has none; arrays when their
    elements are. Raises :exc:`Refused` for arrays nested deeper than 32.
    """
    return field_fits(field_shape(local, local_id), target, target_id)


def types_are_compat(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether the types are of the same kind, prototypes and what pointers point at included; names do not
    count.

    Raises :exc:`Refused` (EINVAL) for types nested deeper than libbpf follows.
    """
    return _Walk(local, target).compat(local_id, target_id, _MAX_DEPTH)


def type_shape(btf: Btf, type_id: int, level: int = _MAX_DEPTH) -> Shape:
    """All of a local type that :func:`types_are_compat` depends on, so that types of equal shape are
    compatible with the same types.

    Raises :exc:`Refused` for types nested deeper than libbpf follows, or wider than is worth remembering.
    """
    return (kind_class(btf.kind_number(type_id)), *_shaped(btf, type_id, level, [_MAX_SHAPE]))


_MAX_SHAPE: Final = 2_000  # types in one shape


def _shaped(btf: Btf, type_id: int, level: int, left: list[int]) -> Iterator[object]:
    for _ in range(_MAX_DEPTH):
        left[0] -= 1
        if left[0] < 0:
            raise Refused(errno.EINVAL, "the types are too large to compare")
        _, found = skip_mods_and_typedefs(btf, type_id)
        yield kind_class(found.kind)
        if isinstance(found, Ptr | Array):
            type_id = found.type_id
        elif isinstance(found, FuncProto):
            if level <= 0:
                raise Refused(errno.EINVAL, "prototypes nest too deep")
            yield tuple(tuple(_shaped(btf, param.type_id, level - 1, left)) for param in found.params)
            type_id = found.return_type_id
        else:
            if isinstance(found, Int):
                yield found.bit_offset == 0
            return
    raise Refused(errno.EINVAL, "pointers nest too deep")


def types_match(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether the target has all that the local type declares: members by name and type, enumerators by name.

    Behind a pointer only names and kinds count. Raises :exc:`Refused` (EINVAL) for types nested deeper than
    libbpf follows.
    """
    return _Walk(local, target).match(local_id, target_id, False, _MAX_DEPTH)


def _names_match(local: str, target: str) -> bool:
    return local == target or (bool(target) and essential_name(local) == essential_name(target))


class _Walk:
    def __init__(self, local: Btf, target: Btf) -> None:
        self.local = local
        self.target = target
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise Refused(errno.EINVAL, "the types are too large to compare")

    def compat(self, local_id: int, target_id: int, level: int) -> bool:
        if kind_class(self.local.kind_number(local_id)) != kind_class(self.target.kind_number(target_id)):
            return False
        for _ in range(_MAX_DEPTH):
            self.step()
            local_id, here = skip_mods_and_typedefs(self.local, local_id)
            target_id, there = skip_mods_and_typedefs(self.target, target_id)
            if kind_class(here.kind) != kind_class(there.kind):
                return False
            match here, there:
                case (Unread(), _) | (_, Unread()):
                    return False
                case (Void() | Composite() | Enum() | Fwd(), _):
                    return True
                case Int(), Int():
                    return here.bit_offset == 0 and there.bit_offset == 0
                case (Ptr() | Array(), Ptr() | Array()):
                    local_id, target_id = here.type_id, there.type_id
                case FuncProto(), FuncProto():
                    if len(here.params) != len(there.params):
                        return False
                    for mine, theirs in zip(here.params, there.params, strict=True):
                        if level <= 0:
                            raise Refused(errno.EINVAL, "prototypes nest too deep")
                        mine_id, _ = skip_mods_and_typedefs(self.local, mine.type_id)
                        theirs_id, _ = skip_mods_and_typedefs(self.target, theirs.type_id)
                        if not self.compat(mine_id, theirs_id, level - 1):
                            return False
                    local_id, target_id = here.return_type_id, there.return_type_id
                case _:
                    return False
        raise Refused(errno.EINVAL, "pointers nest too deep")

    def match(self, local_id: int, target_id: int, behind_ptr: bool, level: int) -> bool:
        if level <= 0:
            raise Refused(errno.EINVAL, "types nest too deep")
        for _ in range(_MAX_DEPTH):
            self.step()
            local_id, here = skip_mods_and_typedefs(self.local, local_id)
            target_id, there = skip_mods_and_typedefs(self.target, target_id)
            if not _names_match(here.name, there.name):
                return False
            match here, there:
                case Ptr(), Ptr():
                    behind_ptr = True
                    local_id, target_id = here.type_id, there.type_id
                case Array(), Array():
                    if here.nelems != there.nelems:
                        return False
                    local_id, target_id = here.type_id, there.type_id
                case FuncProto(), FuncProto():
                    if len(here.params) != len(there.params):
                        return False
                    for mine, theirs in zip(here.params, there.params, strict=True):
                        if not self.match(mine.type_id, theirs.type_id, behind_ptr, level - 1):
                            return False
                    local_id, target_id = here.return_type_id, there.return_type_id
                case Composite(), Composite() if not behind_ptr:
                    return here.kind == there.kind and self.members_match(here, there, level)
                case _:
                    return self.leaves_match(here, there, behind_ptr)
        raise Refused(errno.EINVAL, "pointers nest too deep")

    def leaves_match(self, here: BtfType, there: BtfType, behind_ptr: bool) -> bool:
        match here, there:
            case Void(), Void():
                return True
            case Int(), Int():
                return here.size == there.size and here.signed == there.signed
            case Enum(), Enum():
                return here.size == there.size and self.enumerators_match(here, there)
            case Fwd(), Fwd():
                return here.is_union == there.is_union
            case (Fwd(), Struct()) | (Struct(), Fwd()):
                return behind_ptr and not (here.is_union if isinstance(here, Fwd) else _is_union(there))
            case (Fwd(), Union()) | (Union(), Fwd()):
                return behind_ptr and (here.is_union if isinstance(here, Fwd) else _is_union(there))
            case Composite(), Composite():
                return here.kind == there.kind
            case _:
                return False

    def enumerators_match(self, here: Enum, there: Enum) -> bool:
        if len(here.values) > len(there.values):
            return False
        names = {essential_name(value.name) for value in there.values}
        return all(essential_name(value.name) in names for value in here.values)

    def members_match(self, here: Composite, there: Composite, level: int) -> bool:
        if len(here.members) > len(there.members):
            return False
        for mine in here.members:
            for theirs in there.members:
                self.step()
                if _names_match(mine.name, theirs.name) and self.match(
                    mine.type_id, theirs.type_id, False, level - 1
                ):
                    break
            else:
                return False
        return True


def _is_union(found: BtfType) -> bool:
    return found.kind == Kind.UNION or (isinstance(found, Fwd) and found.is_union)
