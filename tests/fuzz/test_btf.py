# SPDX-License-Identifier: Apache-2.0
"""BTF and .BTF.ext, and everything that walks along types: whatever a file says, in bounded time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.btfwriter import BtfWriter, core_ext
from tests.fuzz.inputs import BOUNDED, answer, damaged

from holdfast.btf import Btf
from holdfast.btf.cformat import declaration
from holdfast.btf.ext import BtfExt, CoreRelo, CoreReloKind
from holdfast.btf.index import TypeIndex
from holdfast.btf.skip import pointer_size, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Func, Kind, Var
from holdfast.insn import Instruction
from holdfast.relo import Relocator, Target, fields_are_compat, resolve_ksym

ACCESSES = ("0", "0:0", "0:1", "0:1:2", "1:0:0:0", "0:2", "")


def seed(order: str) -> tuple[bytes, bytes]:
    w = BtfWriter(order)
    number = w.integer()
    w.integer("long unsigned int", 8, 0)
    pointer = w.ptr(w.next_id + 1)
    inner = w.union("", 8, ("a", number, 0), ("b", pointer, 0))
    w.struct("s", 24, ("", inner, 0), ("arr", w.next_id + 1, 64), ("bits", number, 128, 5))
    w.array(number, 4)
    w.typedef("t", w.const(w.modifier(Kind.TYPE_TAG, inner, "rcu")))
    w.enum("e", ("A", 1), ("B", 2))
    w.enum64("f", ("C", 1 << 40))
    w.fwd("s")
    proto = w.proto(number, ("p", pointer), ("", 0))
    w.func("kfunc", proto, 2)
    variable = w.var("v", number)
    w.datasec(".ksyms", 8, (variable, 0, 4))
    w.floating("double", 8)
    w.decl_tag("bpf_kfunc", proto)
    ext = core_ext(w, {"socket": [(0, inner, "0:0", 0), (8, inner, "0:1", 2)], "tc": [(0, 5, "0:1:2", 1)]})
    return w.raw(), ext


LITTLE, BIG = seed("little"), seed("big")
BASE = Btf.from_bytes(LITTLE[0], origin="base")


def walk_all(data: bytes, base: Btf | None) -> None:
    """Everything that is asked of BTF; each question may be refused, and ends."""
    btf = answer(Btf.from_bytes, data, base=base, origin="fuzz")
    if btf is None:
        return
    answer(pointer_size, btf)
    target = Target(btf)
    for type_id in range(min(len(btf), 60)):
        found = answer(btf.type, type_id)
        answer(btf.name, type_id)
        answer(btf.kind_number, type_id)
        answer(declaration, btf, type_id)
        answer(skip_mods_and_typedefs, btf, type_id)
        answer(resolve_size, btf, type_id, 8)
        if isinstance(found, Func | Var):
            answer(resolve_ksym, BASE, 12, weak=True, target=target)
            answer(resolve_ksym, btf, type_id, weak=True, target=Target(BASE))
    answer(btf.candidates, "s")
    answer(btf.find, "kfunc", Kind.FUNC)


@BOUNDED
@given(damaged(LITTLE[0], BIG[0]), st.booleans())
def test_reader_and_walks(data: bytes, split: bool) -> None:
    walk_all(data, BASE if split else None)


@BOUNDED
@given(
    damaged(LITTLE[0]),
    damaged(LITTLE[0]),
    st.sampled_from(ACCESSES),
    st.sampled_from([*CoreReloKind, 13, -1]),
)
def test_relocation_between_damaged_types(
    mine: bytes, theirs: bytes, access: str, kind: CoreReloKind | int
) -> None:
    local = answer(Btf.from_bytes, mine, origin="object") or BASE
    kernel = answer(Btf.from_bytes, theirs, origin="kernel") or BASE
    relocator = Relocator(local, Target(kernel))
    for type_id in range(min(len(local) + 1, 40)):
        answer(relocator.resolve, CoreRelo(0, type_id, access, kind), Instruction(0x61, 1, 2, 4, 0))


@BOUNDED
@given(damaged(LITTLE[1], BIG[1]), damaged(LITTLE[0]))
def test_ext(data: bytes, types: bytes) -> None:
    btf = answer(Btf.from_bytes, types, origin="fuzz") or BASE
    answer(BtfExt.from_bytes, data, btf, "fuzz")
    answer(BtfExt.from_bytes, data, BASE, "fuzz")


@BOUNDED
@given(damaged(BASE.index.to_bytes()))
def test_kept_index(data: bytes) -> None:
    answer(TypeIndex.from_buffer, data)


@BOUNDED
@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(0, 12), st.integers(0, 3)), max_size=12))
def test_types_that_refer_to_anything(rows: list[tuple[Kind, int, int]]) -> None:
    """Well-formed headers, references at will: loops of every kind."""
    w = BtfWriter()
    for kind, type_id, count in rows:
        match kind:
            case Kind.VOID:
                w.integer()
            case Kind.STRUCT | Kind.UNION:
                w.composite(
                    kind, "s" if count else "", 8, [("" if n else "a", type_id + n, 0) for n in range(count)]
                )
            case Kind.ARRAY:
                w.array(type_id, 1 << 8 * count)
            case Kind.FUNC_PROTO:
                w.proto(type_id, *[("p", type_id + n) for n in range(count)])
            case Kind.ENUM | Kind.ENUM64 | Kind.INT | Kind.DATASEC | Kind.VAR | Kind.DECL_TAG:
                w.var("v", type_id)
            case _:
                w.add(kind, "s" if kind in (Kind.TYPEDEF, Kind.FWD, Kind.FUNC) else "", type_id)
    walk_all(w.raw(), None)
    btf = w.btf()
    relocator = Relocator(btf, Target(btf))
    for type_id in btf.own_ids():
        answer(fields_are_compat_or_refused, btf, type_id)
        for kind in (CoreReloKind.FIELD_BYTE_OFFSET, CoreReloKind.TYPE_MATCHES, CoreReloKind.TYPE_EXISTS):
            relo = CoreRelo(0, type_id, "0:0" if kind == CoreReloKind.FIELD_BYTE_OFFSET else "0", kind)
            answer(relocator.resolve, relo, Instruction(0xB7, 1, 0, 0, 0))


def fields_are_compat_or_refused(btf: Btf, type_id: int) -> bool:
    return fields_are_compat(btf, type_id, btf, type_id)
