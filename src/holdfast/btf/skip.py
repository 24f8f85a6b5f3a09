# SPDX-License-Identifier: Apache-2.0
"""Walks along a chain of types: to the type behind modifiers, and to a type's size.

The rules are libbpf's (``skip_mods_and_typedefs()`` in libbpf.c, ``btf__resolve_size()`` in btf.c). Both
walks are bounded here, because the BTF of a file may refer to itself.
"""

from __future__ import annotations

import errno
from typing import Final
from weakref import WeakKeyDictionary

from holdfast.btf.reader import Btf
from holdfast.btf.types import (
    MODIFIERS,
    Array,
    BtfType,
    Composite,
    Datasec,
    DeclTag,
    Enum,
    Float,
    Int,
    Kind,
    Ptr,
    Var,
)
from holdfast.errors import BtfError

__all__ = ["UnsizedError", "element_type", "pointer_size", "resolve_size", "skip_mods_and_typedefs"]

_MAX_CHAIN: Final = 256  # real chains are shorter than 10; the kernel refuses more than 32
_MAX_RESOLVE_DEPTH: Final = 32  # MAX_RESOLVE_DEPTH of libbpf's btf.c
_UINT32_MAX: Final = 0xFFFFFFFF
_SIZED: Final = (Int, Composite, Enum, Datasec, Float)
_MODIFIERS: Final = frozenset(MODIFIERS)
_THROUGH: Final = (*MODIFIERS, Var, DeclTag)
_LONG: Final = (
    "long",
    "long int",
    "int long",
    "unsigned long",
    "long unsigned",
    "unsigned long int",
    "unsigned int long",
    "long unsigned int",
    "long int unsigned",
    "int unsigned long",
    "int long unsigned",
)


class UnsizedError(BtfError):
    """A type has no size (``void``, a function, a forward declaration) or one beyond 32 bits.

    ``errno`` (positive) is what ``btf__resolve_size()`` returns for it: EINVAL or E2BIG.
    """

    def __init__(self, btf: Btf, type_id: int, number: int) -> None:
        problem = "has no size" if number == errno.EINVAL else "is larger than 4 GiB"
        super().__init__(btf.origin, f"type [{type_id}] {problem}")
        self.errno = number


def skip_mods_and_typedefs(btf: Btf, type_id: int) -> tuple[int, BtfType]:
    """The first type that is neither a typedef nor const, volatile, restrict or a type tag, with its id.

    Raises :exc:`~holdfast.errors.BtfError` for a chain that leads back to itself or to an id that does not
    exist.
    """
    found = btf.type(type_id)
    if type(found) not in _MODIFIERS:
        return type_id, found
    steps = 0
    while isinstance(found, MODIFIERS):
        type_id = found.type_id
        found = btf.type(type_id)
        steps += 1
        if steps > _MAX_CHAIN:
            raise BtfError(btf.origin, f"type [{type_id}] is a typedef or qualifier of itself")
    return type_id, found


def element_type(btf: Btf, type_id: int) -> tuple[int, BtfType]:
    """:func:`skip_mods_and_typedefs`, and what an array is of where it is one, whatever its dimensions.

    Raises :exc:`~holdfast.errors.BtfError` for an array of itself.
    """
    type_id, found = skip_mods_and_typedefs(btf, type_id)
    for _ in range(_MAX_CHAIN):
        if not isinstance(found, Array):
            return type_id, found
        type_id, found = skip_mods_and_typedefs(btf, found.type_id)
    raise BtfError(btf.origin, f"type [{type_id}] is an array of itself")


def resolve_size(btf: Btf, type_id: int, pointer_bytes: int) -> int:
    """Size of a type in bytes, arrays multiplied out; ``pointer_bytes`` is the size of a pointer there.

    Raises :exc:`UnsizedError`, with libbpf's errno, for a type without size.
    """
    first, nelems, size = type_id, 1, -1
    found = btf.type(type_id)
    for _ in range(_MAX_RESOLVE_DEPTH):
        if isinstance(found, _SIZED):
            size = found.size
            break
        if isinstance(found, Ptr):
            size = pointer_bytes
            break
        if isinstance(found, Array):
            if nelems * found.nelems > _UINT32_MAX:
                raise UnsizedError(btf, first, errno.E2BIG)
            nelems *= found.nelems
        elif not isinstance(found, _THROUGH):
            raise UnsizedError(btf, first, errno.EINVAL)
        found = btf.type(found.type_id)
    if size < 0:
        raise UnsizedError(btf, first, errno.EINVAL)
    if nelems * size > _UINT32_MAX:
        raise UnsizedError(btf, first, errno.E2BIG)
    return nelems * size


def pointer_size(btf: Btf) -> int:
    """Bytes of a pointer in a kernel's BTF: the size of its first integer called ``long``, 8 when it has
    none.

    libbpf guesses so too (``determine_ptr_size()``); without a ``long`` it takes its own pointer's size. For
    the BTF of a BPF object it is always 8.
    """
    if btf.base:
        return pointer_size(btf.base)
    known = _POINTER_SIZES.get(btf)
    if known is None:
        known = _POINTER_SIZES[btf] = _pointer_size(btf)
    return known


_POINTER_SIZES: Final[WeakKeyDictionary[Btf, int]] = WeakKeyDictionary()


def _pointer_size(btf: Btf) -> int:
    ids = sorted(type_id for name in _LONG for type_id in btf.find_all(name, Kind.INT))
    for type_id in ids:
        found = btf.type(type_id)
        if isinstance(found, Int) and found.size in (4, 8):
            return found.size
    return 8
