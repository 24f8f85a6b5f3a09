# SPDX-License-Identifier: Apache-2.0
"""What a relocation is worth on one side: ``bpf_core_calc_field_relo()`` and its siblings in libbpf's
relo_core.c.
"""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from holdfast.btf.ext import CoreReloKind
from holdfast.btf.skip import UnsizedError, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Array, Composite, Enum, Int, Member, Ptr
from holdfast.relo.failure import Refused
from holdfast.relo.spec import ENUMVAL_BASED, TYPE_BASED, UINT32_MAX, Spec

__all__ = ["UINT64_MAX", "Value", "memory_size_differs", "value_of"]

UINT64_MAX: Final = 0xFFFFFFFFFFFFFFFF


class Value(NamedTuple):
    """``number`` is unsigned 64 bit; ``size`` (bytes) and ``type_id`` are those of memory that an access
    reads.

    ``validate`` is False where the compiler and libbpf may rightly disagree about the number.
    """

    number: int
    validate: bool = True
    size: int = 0
    type_id: int = 0


def value_of(spec: Spec) -> Value:
    """The value of a relocation for the local or a target spec. Raises :exc:`Refused` with libbpf's errno."""
    kind = spec.kind
    try:
        if kind in TYPE_BASED:
            return _of_type(spec)
        if kind in ENUMVAL_BASED:
            return _of_enumerator(spec)
        if kind == CoreReloKind.FIELD_EXISTS:
            return Value(1)
        accessor = spec.accessors[-1]
        if accessor.name is None:
            return _of_element(spec)
        holder = spec.btf.type(accessor.type_id)
        assert isinstance(holder, Composite)
        return _of_field(spec, holder.members[accessor.idx])
    except UnsizedError as error:
        raise Refused(errno.EINVAL, error.message) from None


def _of_type(spec: Spec) -> Value:
    match spec.kind:
        case CoreReloKind.TYPE_ID_TARGET:
            # Linking objects changes the id in the instruction, so it proves nothing.
            return Value(spec.root_type_id, validate=False)
        case CoreReloKind.TYPE_SIZE:
            return Value(resolve_size(spec.btf, spec.root_type_id, spec.side.pointer_bytes))
        case _:
            return Value(1)


def _of_enumerator(spec: Spec) -> Value:
    if spec.kind == CoreReloKind.ENUMVAL_EXISTS:
        return Value(1)
    accessor = spec.accessors[0]
    enum = spec.btf.type(accessor.type_id)
    assert isinstance(enum, Enum)
    number = enum.values[accessor.idx].value
    if not enum.wide:
        # libbpf extends the sign of a 32-bit enumerator even when the enum is unsigned.
        number = (number & UINT32_MAX ^ 0x80000000) - 0x80000000
    return Value(number & UINT64_MAX)


def _element_size(spec: Spec, type_id: int) -> int:
    """Bytes that one load of an access may have: of an array, its innermost element's."""
    element_id, found = skip_mods_and_typedefs(spec.btf, type_id)
    for _ in range(256):
        if not isinstance(found, Array):
            return resolve_size(spec.btf, element_id, spec.side.pointer_bytes)
        element_id, found = skip_mods_and_typedefs(spec.btf, found.type_id)
    raise Refused(errno.EINVAL, f"array [{type_id}] nests too deep")


def _of_element(spec: Spec) -> Value:
    type_id = spec.accessors[-1].type_id
    match spec.kind:
        case CoreReloKind.FIELD_BYTE_OFFSET:
            return Value(spec.bit_offset // 8, True, _element_size(spec, type_id), type_id)
        case CoreReloKind.FIELD_BYTE_SIZE:
            return Value(resolve_size(spec.btf, type_id, spec.side.pointer_bytes))
        case _:
            raise Refused(errno.EINVAL, f"relo {int(spec.kind)} can't be applied to array access")


def _of_field(spec: Spec, member: Member) -> Value:
    field_type_id, found = skip_mods_and_typedefs(spec.btf, member.type_id)
    bit_off, bit_sz = spec.bit_offset, member.bitfield_size
    bitfield = bit_sz > 0
    if bitfield:
        byte_off, byte_sz = _smallest_load(
            spec, bit_off, bit_sz, found.size if isinstance(found, Int | Enum) else 0
        )
    else:
        byte_sz = resolve_size(spec.btf, field_type_id, spec.side.pointer_bytes)
        byte_off = bit_off // 8
        bit_sz = byte_sz * 8 & UINT32_MAX
    match spec.kind:
        case CoreReloKind.FIELD_BYTE_OFFSET:
            if bitfield:
                return Value(byte_off, validate=False)
            return Value(byte_off, True, _element_size(spec, field_type_id), field_type_id)
        case CoreReloKind.FIELD_BYTE_SIZE:
            return Value(byte_sz, validate=not bitfield)
        case CoreReloKind.FIELD_SIGNED:
            return Value(int(isinstance(found, Int | Enum) and found.signed))
        case CoreReloKind.FIELD_LSHIFT_U64:
            if spec.btf.byteorder == "little":
                shift = 64 - (bit_off + bit_sz - byte_off * 8)
            else:
                shift = (8 - byte_sz) * 8 + (bit_off - byte_off * 8)
            return Value(shift & UINT32_MAX, validate=not bitfield)
        case _:
            return Value((64 - bit_sz) & UINT32_MAX)


def _smallest_load(spec: Spec, bit_off: int, bit_sz: int, byte_sz: int) -> tuple[int, int]:
    """Offset and size in bytes of the smallest aligned load that has the whole bit field."""
    if byte_sz == 0:
        raise Refused(errno.EINVAL, "a bit field that is no integer")
    byte_off = bit_off // 8 // byte_sz * byte_sz
    while bit_off + bit_sz - byte_off * 8 > byte_sz * 8:
        if byte_sz >= 8:
            raise Refused(errno.E2BIG, f"relo {int(spec.kind)} can't be satisfied for bitfield")
        byte_sz *= 2
        byte_off = bit_off // 8 // byte_sz * byte_sz
    return byte_off, byte_sz


def memory_size_differs(local: Spec, orig: Value, target: Spec, new: Value) -> bool:
    """Whether a load or store of the local size would go wrong at the target and cannot be resized.

    Pointers can be, and unsigned integers: both are extended with zeroes.
    """
    if orig.size == new.size:
        return False
    here, there = local.btf.type(orig.type_id), target.btf.type(new.type_id)
    if isinstance(here, Ptr) and isinstance(there, Ptr):
        return False
    # libbpf compares the whole encoding with BTF_INT_SIGNED: a signed bool or char would pass, and passes
    # here
    return not (
        isinstance(here, Int) and isinstance(there, Int) and here.encoding != 1 and there.encoding != 1
    )
