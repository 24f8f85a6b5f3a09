# SPDX-License-Identifier: Apache-2.0
"""Compare the memory layout of two types: what user space would read wrongly if they differed.

Typedefs, qualifiers, type tags and the names of structs are no part of a layout; member names, offsets,
sizes, the sign of integers and the values of enumerators are. Pointers are compared as pointers, what they
point at is not shared memory. Anonymous structs and unions are their members.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import (
    MODIFIERS,
    Array,
    BtfType,
    Composite,
    Datasec,
    Enum,
    Float,
    Int,
    Ptr,
    Struct,
    Typedef,
    Union,
    Var,
)
from holdfast.errors import BtfError

__all__ = ["Difference", "difference", "spelled_names"]

_MAX_DEPTH: Final = 64  # nesting of real types stays below 10
_MAX_COMPOSITES: Final = 1000  # anonymous ones inside one struct, which real code has a few of
_POINTER_SIZE: Final = 8  # bytes, of BPF


@dataclass(frozen=True, slots=True)
class Difference:
    """``here`` and ``there`` complete "``subject`` ... , in variant X ...": ``at bit 32``, ``at bit 0``."""

    subject: str
    here: str
    there: str


@dataclass(slots=True)
class _Place:
    """A member of a struct with the anonymous ones unfolded; offsets and sizes in bits."""

    type_id: int
    bit_offset: int
    bitfield_size: int


@dataclass(slots=True)
class _Comparison:
    here: Btf
    there: Btf
    # Pairs of types that were compared already: they differ nowhere, or we would not be here.
    equal: set[tuple[int, int]] = field(default_factory=set)

    def types(self, left_id: int, right_id: int, path: str, depth: int) -> Difference | None:
        left_id, left = skip_mods_and_typedefs(self.here, left_id)
        right_id, right = skip_mods_and_typedefs(self.there, right_id)
        if (left_id, right_id) in self.equal:
            return None
        if depth > _MAX_DEPTH:
            raise BtfError(self.here.origin, f"type [{left_id}] is nested more than {_MAX_DEPTH} deep")
        found = self.kinds(left, right, path, depth)
        if found is None:
            self.equal.add((left_id, right_id))
        return found

    def kinds(self, left: BtfType, right: BtfType, path: str, depth: int) -> Difference | None:
        subject = f"member {path!r}" if path else "it"
        if (noun := _noun(left)) != (other := _noun(right)):
            return Difference(subject, f"is {noun}", f"it is {other}")
        if isinstance(left, Array) and isinstance(right, Array):
            if left.nelems != right.nelems:
                return Difference(subject, f"has {left.nelems} elements", f"{right.nelems}")
            return self.types(left.type_id, right.type_id, f"{path}[]", depth + 1)
        if isinstance(left, Datasec) and isinstance(right, Datasec):
            return self.members(_variables(self.here, left), _variables(self.there, right), path, depth)
        if (size := _size(left)) != (other_size := _size(right)):
            return Difference(subject, f"has {size} bytes", f"{other_size}")
        if isinstance(left, Int) and isinstance(right, Int):
            if left.signed != right.signed:
                return Difference(subject, f"is {_sign(left)}", _sign(right))
        elif isinstance(left, Enum) and isinstance(right, Enum):
            return _enumerators(left, right)
        elif isinstance(left, Composite) and isinstance(right, Composite):
            return self.members(_unfold(self.here, left), _unfold(self.there, right), path, depth)
        return None

    def members(
        self, left: dict[str, _Place], right: dict[str, _Place], path: str, depth: int
    ) -> Difference | None:
        for name, place in left.items():
            full = f"{path}.{name}" if path else name
            subject = f"member {full!r}"
            other = right.get(name)
            if other is None:
                return Difference(subject, f"at bit {place.bit_offset}", "there is none")
            if place.bit_offset != other.bit_offset:
                return Difference(subject, f"at bit {place.bit_offset}", f"at bit {other.bit_offset}")
            if place.bitfield_size != other.bitfield_size:
                return Difference(subject, _bits(place), _bits(other))
            found = self.types(place.type_id, other.type_id, full, depth + 1)
            if found:
                return found
        for name, place in right.items():
            if name not in left:
                full = f"{path}.{name}" if path else name
                return Difference(f"member {full!r}", "is missing", f"at bit {place.bit_offset}")
        return None


def difference(here: Btf, here_id: int, there: Btf, there_id: int) -> Difference | None:
    """Returns where the layouts of two types differ first, None when they agree.

    Raises :class:`~holdfast.errors.BtfError` for types that contain themselves.
    """
    return _Comparison(here, there).types(here_id, there_id, "", 0)


def spelled_names(btf: Btf, type_id: int) -> tuple[str, ...]:
    """Returns how C may call a type: its typedefs from the outside in, then ``struct x`` or a plain name."""
    names = []
    last = skip_mods_and_typedefs(btf, type_id)[1]  # raises for a chain without end
    found = btf.type(type_id)
    while isinstance(found, MODIFIERS):
        if isinstance(found, Typedef):
            names.append(found.name)
        found = btf.type(found.type_id)
    if last.name:
        tag = {Struct: "struct ", Union: "union ", Enum: "enum "}.get(type(last), "")
        names.append(tag + last.name)
    return tuple(names)


def _unfold(btf: Btf, type_: Composite) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    todo = [(type_, 0)]
    for _ in range(_MAX_COMPOSITES):
        if not todo:
            return places
        one, base = todo.pop()
        for member in one.members:
            inner = skip_mods_and_typedefs(btf, member.type_id)[1]
            if not member.name and isinstance(inner, Composite):
                todo.append((inner, base + member.bit_offset))
                continue
            # C forbids two members of one name; a nameless one is told by its place.
            name = member.name or f"(bit {base + member.bit_offset})"
            places.setdefault(name, _Place(member.type_id, base + member.bit_offset, member.bitfield_size))
    raise BtfError(btf.origin, f"struct {type_.name!r} holds more than {_MAX_COMPOSITES} anonymous ones")


def _variables(btf: Btf, section: Datasec) -> dict[str, _Place]:
    places = {}
    for variable in section.variables:
        var = btf.type(variable.type_id)
        if isinstance(var, Var):
            places[var.name] = _Place(var.type_id, variable.offset * 8, 0)
    return places


def _enumerators(left: Enum, right: Enum) -> Difference | None:
    values = {one.name: one.value for one in right.values}
    for one in left.values:
        if values.get(one.name, one.value) != one.value:
            return Difference(f"enumerator {one.name}", f"is {one.value}", f"{values[one.name]}")
    return None


def _noun(type_: BtfType) -> str:
    if isinstance(type_, Enum):
        return "an enum"
    known: tuple[tuple[type[BtfType], str], ...] = (
        (Int, "an integer"), (Float, "a float"), (Ptr, "a pointer"), (Array, "an array"),
        (Struct, "a struct"), (Union, "a union"), (Datasec, "a data section"),
    )  # fmt: skip
    return next((noun for kind, noun in known if isinstance(type_, kind)), type_.kind.name.lower())


def _size(type_: BtfType) -> int | None:
    if isinstance(type_, Ptr):
        return _POINTER_SIZE
    return type_.size if isinstance(type_, Int | Float | Enum | Composite) else None


def _sign(type_: Int) -> str:
    return "signed" if type_.signed else "unsigned"


def _bits(place: _Place) -> str:
    return f"is a bit field of {place.bitfield_size} bits" if place.bitfield_size else "is no bit field"
