# SPDX-License-Identifier: Apache-2.0
"""What lies at an offset of a kernel struct that a program reads through a typed pointer.

btf_struct_walk() and btf_struct_access() in kernel/bpf/btf.c and check_ptr_to_btf_access() in
kernel/bpf/verifier.c, trees 5.10, 6.1, 6.12, 7.1 and 7.3. An access must hit a member of this kernel's
struct: one that is compiled in without CO-RE, or through a struct of another name, may end up in a hole,
across two members or behind the end. Where the trees differ nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum as PyEnum
from typing import Final, TypeAlias

from holdfast.btf.reader import Btf
from holdfast.btf.skip import UnsizedError, pointer_size, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Array, BtfType, Composite, Member, Ptr, TypeTag, Union
from holdfast.rules.ask import Ask
from holdfast.rules.eras import since

__all__ = ["Found", "Pointed", "Refusal", "Shape", "asks_for_gpl", "at", "extent", "pointed"]

_MAX_DEPTH: Final = 64  # structs in structs; the kernel's own are a few deep


class Shape(PyEnum):
    """What an access gives besides a pointer to a struct."""

    NUMBER = "number"
    OTHER = "pointer to something else"
    UNTOLD = "cannot be told"


@dataclass(frozen=True, slots=True)
class Pointed:
    """A pointer to the struct ``type_id`` of ``btf``."""

    btf: Btf
    type_id: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the verifier refuses the access."""

    why: str


Found: TypeAlias = Shape | Pointed | Refusal


def asks_for_gpl(ask: Ask) -> bool:
    """Whether only GPL-compatible programs may read through typed pointers.

    check_ptr_to_btf_access of the 6.12 tree and later ones asks, that of 6.1 does not; False where the kernel
    may be one between them.
    """
    return since(ask, (6, 12)) is True


def pointed(btf: Btf, type_id: int) -> Found:
    """What a value of that type is: a parameter, a result or a member."""
    if type_id == 0:
        return Shape.UNTOLD
    _, kind = skip_mods_and_typedefs(btf, type_id)
    if not isinstance(kind, Ptr):
        return Shape.NUMBER
    return _behind(btf, kind)


def _behind(btf: Btf, pointer: Ptr) -> Found:
    target = pointer.type_id
    kind: BtfType = btf.type(target)
    for _ in range(_MAX_DEPTH):
        if isinstance(kind, TypeTag):
            return Shape.UNTOLD  # user, percpu, rcu: what may be done with it differs by release
        below = getattr(kind, "type_id", None)
        if isinstance(kind, Ptr | Array | Composite) or below is None:
            break
        target, kind = below, btf.type(below)
    if isinstance(kind, Composite):
        return Pointed(btf, target)
    return Shape.OTHER


def at(struct: Pointed, offset: int, size: int) -> Found:
    """What reading ``size`` bytes at ``offset`` gives, both in bytes."""
    btf = struct.btf
    type_id, start, length = struct.type_id, offset, size
    if offset < 0:
        return Refusal(f"it reads {-offset} bytes before the struct")
    in_union = False
    for _ in range(_MAX_DEPTH):
        _, kind = skip_mods_and_typedefs(btf, type_id)
        if not isinstance(kind, Composite):
            return Shape.UNTOLD
        name = kind.name or "(anonymous)"
        in_union = in_union or (isinstance(kind, Union) and len(kind.members) != 1)
        if start + length > kind.size:
            return _behind_end(btf, kind, start, length)
        hit = _member_at(btf, kind, start, length)
        if hit is None:
            return Refusal(f"struct {name} has no member at offset {start} here")
        if isinstance(hit, Shape):
            return hit
        member, begin, end, inner, each = hit
        if isinstance(inner, Composite):
            start -= begin
            type_id = each
            continue
        if isinstance(inner, Ptr):
            if length != pointer_size(btf) or start != begin:
                return Refusal(
                    f"it reads {length} bytes at offset {start} of struct {name}, and there is pointer "
                    f"{member.name} at {begin}"
                )
            return Shape.UNTOLD if in_union else _behind(btf, inner)
        if start + length > end:
            if in_union:  # 6.12 and later let it pass, earlier ones do not
                return Shape.UNTOLD
            return Refusal(
                f"it reads {length} bytes at offset {start} of struct {name}, and {member.name} ends at {end}"
            )
        return Shape.NUMBER
    return Shape.UNTOLD


def extent(btf: Btf, type_id: int, path: str) -> tuple[int, int] | None:
    """Where a member (``a.b`` for one of a member) begins and ends in the struct (bytes), or None."""
    start = 0
    for name in path.split("."):
        found = _member(btf, type_id, name)
        if found is None:
            return None
        begin, type_id = found
        start += begin
    try:
        return start, start + resolve_size(btf, type_id, pointer_size(btf))
    except UnsizedError:
        return None


def _member(btf: Btf, type_id: int, name: str, looked: set[int] | None = None) -> tuple[int, int] | None:
    """(offset in bytes, type's id) of a member by name, those of nameless structs included.

    ``looked`` are structs without one: BTF of a file may nest one in itself.
    """
    type_id, kind = skip_mods_and_typedefs(btf, type_id)
    looked = set() if looked is None else looked
    if not isinstance(kind, Composite) or type_id in looked:
        return None
    looked.add(type_id)
    for member in kind.members:
        if member.name == name:
            # of a bit field the byte that it begins in
            return member.bit_offset // 8, member.type_id
        inner = None if member.name else _member(btf, member.type_id, name, looked)
        if inner is not None:
            return member.bit_offset // 8 + inner[0], inner[1]
    return None


def _behind_end(btf: Btf, struct: Composite, start: int, length: int) -> Found:
    """Behind the end there may be elements of a last array without a size."""
    if struct.members:
        last = struct.members[-1]
        _, kind = skip_mods_and_typedefs(btf, last.type_id)
        if isinstance(kind, Array) and kind.nelems == 0 and start >= last.bit_offset // 8:
            return Shape.UNTOLD
    return Refusal(
        f"it reads {length} bytes at offset {start}, and struct {struct.name or '(anonymous)'} "
        f"has {struct.size} bytes here"
    )


_Hit: TypeAlias = tuple[Member, int, int, BtfType, int]


def _member_at(btf: Btf, struct: Composite, start: int, length: int) -> _Hit | Shape | None:
    """(member, where it or the array's element begins, where the member ends, type, type's id); NUMBER for a
    bit field.
    """
    for member in struct.members:
        begin = member.bit_offset // 8
        if start + length <= begin:
            return None
        if member.bitfield_size:
            end = (member.bit_offset + member.bitfield_size + 7) // 8
            if start <= begin and end <= start + length:
                return Shape.NUMBER
            continue
        if start < begin:
            return None
        try:
            size = resolve_size(btf, member.type_id, pointer_size(btf))
        except UnsizedError:
            return Shape.UNTOLD
        end = begin + size
        if start >= end:
            continue
        type_id, kind = skip_mods_and_typedefs(btf, member.type_id)
        is_array = isinstance(kind, Array)
        while isinstance(kind, Array):
            type_id, kind = skip_mods_and_typedefs(btf, kind.type_id)
        if is_array:
            try:
                each = resolve_size(btf, type_id, pointer_size(btf))
            except UnsizedError:
                return Shape.UNTOLD
            if not each:
                return Shape.UNTOLD
            begin += (start - begin) // each * each
        return member, begin, end, kind, type_id
    return None
