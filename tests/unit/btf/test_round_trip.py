# SPDX-License-Identifier: Apache-2.0
"""What is written is read back, in both byte orders, whole and split."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.btfwriter import BtfWriter

from holdfast.btf import Btf, essential_name
from holdfast.btf.index import TypeIndex
from holdfast.btf.types import (
    Array,
    BtfType,
    Composite,
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
    Param,
    Ptr,
    Restrict,
    SectionVar,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
)
from holdfast.errors import BtfError

names = st.sampled_from(["", "a", "b", "foo", "foo___x", "foo___x___y", "_", "oo", "größe", "a" * 300])
u32 = st.integers(0, 2**32 - 1)
ids = st.integers(0, 400)
orders = st.sampled_from(["little", "big"])
modifiers = st.sampled_from([Ptr, Typedef, Volatile, Const, Restrict, TypeTag])


def _member(bitfield: bool) -> st.SearchStrategy[Member]:
    if bitfield:
        return st.builds(Member, names, ids, st.integers(0, 2**24 - 1), st.integers(1, 255))
    return st.builds(Member, names, ids, u32, st.just(0))


members = st.booleans().flatmap(lambda bitfield: st.lists(_member(bitfield), max_size=5).map(tuple))


def _enum(signed: bool, wide: bool) -> st.SearchStrategy[Enum]:
    bits = 64 if wide else 32
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = st.lists(st.builds(Enumerator, names, st.integers(low, high)), max_size=5).map(tuple)
    return st.builds(Enum, names, u32, st.just(signed), values, st.just(wide))


types: st.SearchStrategy[BtfType] = st.one_of(
    st.builds(Int, names, u32, st.integers(0, 255), st.integers(0, 255), st.integers(0, 15)),
    st.builds(lambda kind, name, type_id: kind(name, type_id), modifiers, names, ids),
    st.builds(Array, names, ids, ids, u32),
    st.builds(Struct, names, u32, members),
    st.builds(Union, names, u32, members),
    st.tuples(st.booleans(), st.booleans()).flatmap(lambda both: _enum(*both)),
    st.builds(Fwd, names, st.booleans()),
    st.builds(Func, names, ids, st.integers(0, 2)),
    st.builds(FuncProto, names, ids, st.lists(st.builds(Param, names, ids), max_size=4).map(tuple)),
    st.builds(Var, names, ids, st.integers(0, 2)),
    st.builds(Datasec, names, u32, st.lists(st.builds(SectionVar, ids, u32, u32), max_size=4).map(tuple)),
    st.builds(Float, names, u32),
    st.builds(DeclTag, names, ids, st.integers(-1, 100)),
)


def write(w: BtfWriter, found: BtfType) -> int:
    match found:
        case Int():
            return w.integer(found.name, found.size, found.encoding, found.bits, found.bit_offset)
        case Array():
            body = w.pack("III", found.type_id, found.index_type_id, found.nelems)
            return w.add(Kind.ARRAY, found.name, 0, body)
        case Composite():
            rows = [
                (m.name, m.type_id, m.bit_offset, m.bitfield_size)
                if m.bitfield_size
                else (m.name, m.type_id, m.bit_offset)
                for m in found.members
            ]
            return w.composite(found.kind, found.name, found.size, rows)
        case Enum():
            add: Callable[..., int] = w.enum64 if found.wide else w.enum
            return add(
                found.name, *((v.name, v.value) for v in found.values), size=found.size, signed=found.signed
            )
        case Fwd():
            return w.fwd(found.name, found.is_union)
        case Func():
            return w.func(found.name, found.type_id, found.linkage)
        case FuncProto():
            body = b"".join(w.pack("II", w.string(p.name), p.type_id) for p in found.params)
            return w.add(Kind.FUNC_PROTO, found.name, found.return_type_id, body, len(found.params))
        case Var():
            return w.var(found.name, found.type_id, found.linkage)
        case Datasec():
            rows = [(v.type_id, v.offset, v.size) for v in found.variables]
            return w.datasec(found.name, found.size, *rows)
        case Float():
            return w.floating(found.name, found.size)
        case DeclTag():
            return w.decl_tag(found.name, found.type_id, found.component)
        case _:
            assert isinstance(found, Ptr | Typedef | Volatile | Const | Restrict | TypeTag)
            return w.add(found.kind, found.name, found.type_id)


@given(st.lists(types, max_size=20), orders)
def test_all_kinds(expected: list[BtfType], order: str) -> None:
    w = BtfWriter(order)
    for found in expected:
        write(w, found)
    btf = w.btf()
    assert btf.byteorder == order
    assert [found for _, found in btf] == expected
    assert [btf.kind_number(i) for i in btf.own_ids()] == [found.kind for found in expected]
    assert [btf.name(i) for i in btf.own_ids()] == [found.name for found in expected]
    for name in {found.name for found in expected} - {""}:
        alike = [i for i, found in btf if found.name == name]
        assert btf.find_all(name) == alike
        assert btf.find(name) == alike[0]
        essential = essential_name(name)
        same = [i for i, found in btf if found.name and essential_name(found.name) == essential]
        assert list(btf.candidates(essential)) == same


@given(st.lists(types, max_size=10), st.lists(types, max_size=10), orders)
def test_split(first: list[BtfType], second: list[BtfType], order: str) -> None:
    w = BtfWriter(order)
    for found in first:
        write(w, found)
    base = w.btf()
    split = BtfWriter(order, base)
    split.offsets |= w.offsets  # shares the base's strings
    for found in second:
        write(split, found)
    btf = split.btf()
    assert len(btf) == 1 + len(first) + len(second)
    assert [found for _, found in btf] == second
    assert [btf.type(i) for i in range(1, len(btf))] == first + second
    for name in {found.name for found in second} - {""}:
        assert btf.find_all(name) == [i for i, found in btf if found.name == name]
        everywhere = [i for i in range(1, len(btf)) if btf.name(i) == name]
        assert btf.find(name) == everywhere[0]


@given(st.lists(types, max_size=20), orders)
def test_an_index_may_be_kept(expected: list[BtfType], order: str) -> None:
    w = BtfWriter(order)
    for found in expected:
        write(w, found)
    first = w.btf()
    index = TypeIndex.from_buffer(first.index.to_bytes())
    assert index
    again = Btf(w.raw(), index=index)
    assert [found for _, found in again] == expected
    assert again.candidates("foo") == first.candidates("foo")


def test_a_name_may_be_the_tail_of_another() -> None:
    w = BtfWriter()
    whole = w.string("long_name___old")
    w.offsets["name___old"] = whole + 5
    type_id = w.struct("name___old", 4)
    assert w.btf().candidates("name") == (type_id,)


def test_names_over_each_other_are_bounded() -> None:
    w = BtfWriter()
    whole = w.string("x" * (2 << 20))
    for place in range(200):
        w.offsets[f"tail{place}"] = whole + place
        w.struct(f"tail{place}", 4)
    with pytest.raises(BtfError, match="have more than 256 MiB together"):
        w.btf()


def test_names_that_are_asked_for_are_bounded() -> None:
    w = BtfWriter()
    whole = w.string("x" * (2 << 20))
    btf = w.btf()
    with pytest.raises(BtfError, match="it has been asked for have more than 256 MiB"):
        for place in range(200):
            btf.string(whole + place)
