# SPDX-License-Identifier: Apache-2.0
"""BTF through the pool and back: byte for byte, with what kernels have in common stored once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.btfwriter import BtfWriter
from tests.catalogued import kernel, module, vmlinux

from holdfast.btf import Btf
from holdfast.btf.types import Kind
from holdfast.kernels.catalogue import chain, symbols
from holdfast.kernels.catalogue.encode import Encoded, Neighbour, encoded
from holdfast.kernels.catalogue.numbers import planes, sequence, signed, unplanes, unsequence
from holdfast.kernels.catalogue.parts import DamagedError, Parts, pack
from holdfast.kernels.catalogue.pool import Additions, Pool
from holdfast.kernels.catalogue.types import Base, Odd, decode, encode, index_of
from holdfast.kernels.kallsyms import SymbolText
from holdfast.kernels.record import KernelRecord


def there_and_back(data: bytes, pool: Pool, base: Base | None = None, on: Btf | None = None) -> bytes:
    additions = Additions(pool)
    order, _ = encode(data, Btf(data, base=on), additions, base or Base())
    return decode(order, pool, base or Base()).data


@pytest.mark.parametrize("number", [1, 5])
def test_btf_comes_back_byte_for_byte(number: int) -> None:
    data = vmlinux(number).raw()
    pool = Pool()
    assert there_and_back(data, pool) == data
    assert there_and_back(data, pool) == data


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_whatever_the_types_are(seed: int) -> None:
    data = anything(random.Random(seed)).raw()
    assert there_and_back(data, Pool()) == data


def anything(chance: random.Random) -> BtfWriter:
    """Types that refer to each other as they like, few names, many alike."""
    btf = BtfWriter()
    btf.integer()
    count = chance.randrange(1, 40)

    def some() -> int:
        return chance.randrange(count + 1)

    def name() -> str:
        return chance.choice(["", "a", "b", "a___x"])

    makers = [
        lambda: btf.ptr(some()),
        lambda: btf.struct(name(), 8, *((name(), some(), 8 * i) for i in range(chance.randrange(4)))),
        lambda: btf.union(name(), 8, (name(), some(), 0)),
        lambda: btf.proto(some(), *((name(), some()) for _ in range(chance.randrange(3)))),
        lambda: btf.func(name() or "f", some(), chance.randrange(3)),
        lambda: btf.typedef(name(), some()),
        lambda: btf.array(some(), chance.randrange(1 << 32), some()),
        lambda: btf.enum(name(), (name(), chance.randrange(1 << 32))),
        lambda: btf.enum64(name(), (name(), chance.randrange(1 << 64))),
        lambda: btf.decl_tag(name(), some(), chance.choice([-1, 0, 5])),
        lambda: btf.datasec(name(), 8, (some(), 0, 8)),
        lambda: btf.modifier(chance.choice([Kind.CONST, Kind.VOLATILE, Kind.TYPE_TAG]), some(), name()),
        lambda: btf.fwd(name(), chance.random() < 0.5),
        lambda: btf.var(name(), some(), chance.randrange(2)),
        lambda: btf.floating(name(), 8),
    ]
    while btf.next_id <= count:
        chance.choice(makers)()
    return btf


def test_the_same_types_are_stored_once() -> None:
    pool = Pool()
    there_and_back(vmlinux(1).raw(), pool)
    types, strings = pool.types, len(pool.strings)
    there_and_back(vmlinux(1).raw(), pool)
    assert (pool.types, len(pool.strings)) == (types, strings)
    # another order, and a type that grew: what points to it is the same
    there_and_back(vmlinux(2).raw(), pool)
    new = {"task_struct", "function_21", ".data..percpu"}
    assert pool.types - types == len(new)
    assert {string.decode() for string in pool.strings[strings:]} == {"more_1", "function_21"}


def test_types_that_go_round_without_a_name() -> None:
    btf = BtfWriter()
    btf.ptr(btf.next_id + 1)
    btf.const(1)
    btf.ptr(2)
    assert there_and_back(btf.raw(), Pool()) == btf.raw()


def odd() -> dict[str, bytes]:
    plain = vmlinux().raw()
    inside = bytearray(plain)
    inside[24:28] = (int.from_bytes(plain[24:28], "little") + 1).to_bytes(4, "little")  # "nt" of "int"
    big = BtfWriter("big")
    big.integer()
    twice = BtfWriter()
    twice.integer()
    twice.strings += b"int\0"
    return {"name inside a string": bytes(inside), "big-endian": big.raw(), "string twice": twice.raw()}


@pytest.mark.parametrize("what", odd())
def test_odd_btf_is_kept_as_it_is(what: str) -> None:
    data = odd()[what]
    record = replace(kernel(), vmlinux=data, modules={})
    assert reread(record, encoded(record, Pool(), [])) == data


def reread(record: KernelRecord, new: Encoded) -> bytes:
    blobs = {f"{name}": blob for name, blob in new.parts.items()}
    part = chain.read("vmlinux", ["vmlinux"], blobs.__getitem__, ["plain", "choices", "before"])
    if part.data["plain"]:
        return part.data["plain"]
    pool = Pool()
    assert new.segment is not None
    pool.extend(new.segment)
    from holdfast.kernels.catalogue.types import Order

    choices = np.frombuffer(part.data["choices"], "<u4").astype(np.int64)
    order = Order(part.lists["strings"], part.lists["types"], choices, (part.data["before"], b"", b""))
    return decode(order, pool, Base()).data


def test_a_segment_is_the_pool_that_wrote_it() -> None:
    record = kernel(3)
    assert reread(record, encoded(record, Pool(), [])) == record.vmlinux


def test_split_btf() -> None:
    base = vmlinux(2)
    pool = Pool()
    additions = Additions(pool)
    order, start = encode(base.raw(), base.btf(), additions, Base())
    start = replace(start, offsets=decode(order, pool, Base()).as_base.offsets)
    data = module(base, 3)
    split, _ = encode(data, Btf(data, base=base.btf()), additions, start)
    assert decode(split, pool, decode(order, pool, Base()).as_base).data == data
    assert len(split.choices), "references to its own twin, which vmlinux has two of"


def test_a_reference_out_of_bounds_is_odd() -> None:
    btf = BtfWriter()
    btf.ptr(99)
    with pytest.raises(Odd):
        there_and_back(btf.raw(), Pool())


@pytest.mark.parametrize("seed", range(5))
def test_the_index_is_the_one_that_btf_makes(seed: int) -> None:
    data = anything(random.Random(seed)).raw() if seed else vmlinux().raw()
    pool = Pool()
    order, _ = encode(data, Btf(data), Additions(pool), Base())
    assert index_of(decode(order, pool, Base()), pool.strings).to_bytes() == Btf(data).index.to_bytes()


@given(st.lists(st.integers(1, 30)), st.lists(st.integers(1, 30)))
@settings(deadline=None)
def test_a_list_comes_back_whatever_it_is_told_by(ids: list[int], like: list[int]) -> None:
    told = sequence(np.array(ids, np.int64), np.array(like, np.int64))
    assert unsequence(told, np.array(like, np.int64)).tolist() == ids


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1)))
@settings(deadline=None)
def test_columns_come_back(values: list[int]) -> None:
    assert signed(unplanes(planes(np.array(values, np.int64)))).tolist() == values


def shuffled(seed: int, more: int) -> KernelRecord:
    """Always the same functions, in an order of their own, and some more."""
    names = [f"function_{one}" for one in range(500)]
    random.Random(seed).shuffle(names)
    btf = BtfWriter()
    proto = btf.proto(btf.integer())
    for name in [*names, *(f"more_{one}" for one in range(more))]:
        btf.func(name, proto)
    return replace(kernel(), vmlinux=btf.raw(), modules={})


def reading(there: Encoded) -> Callable[[str], chain.Part]:
    return lambda name: chain.read(name, [name], there.parts.__getitem__)


def test_what_is_like_a_neighbour_is_told_in_less() -> None:
    pool = Pool()
    encoded(shuffled(1, 0), pool, [])
    neighbours = []
    for seed in (2, 3):
        there = encoded(shuffled(seed, 0), pool, [])
        neighbours.append(Neighbour(f"seed {seed}", reading(there)))
    new = shuffled(3, 2)
    alone, told = encoded(new, pool, []), encoded(new, pool, neighbours)
    assert told.like == "seed 3"
    assert len(told.parts["vmlinux"]) < len(alone.parts["vmlinux"]) / 3


@pytest.mark.parametrize(
    "name", ["twice", "function_3", "__pfx_twice", "__ksymtab_function_1", "absent", "__pfx_"]
)
def test_symbols_answer_as_the_image_does(name: str) -> None:
    text = kernel().symbols or ""
    names = symbols.counted(text)
    packed = symbols.split_names(names)
    again = [prefix + rest for prefix, rests in zip(symbols.PREFIXES, packed, strict=True) for rest in rests]
    table = symbols.SymbolTable(memoryview(symbols.table(again)))
    assert len(table(name)) == len(SymbolText(text)(name)) == len(SymbolText(symbols.text_of(names))(name))


def test_names_that_only_begin_with_another() -> None:
    table = symbols.SymbolTable(memoryview(symbols.table([b"", b"__pfx_", b"a", b"ab"])))
    assert [len(table(name)) for name in ("a", "ab", "b", "", "__pfx_")] == [1, 1, 0, 1, 1]


def test_parts_refuse_what_they_did_not_write() -> None:
    blob = pack("kind", {"a": b"x" * 100, "b": b""})
    assert (Parts(blob, "kind")["a"], Parts(blob, "kind")["b"]) == (b"x" * 100, b"")
    for bad in (blob[:-1], blob + b"x", b"", b"HFparts1\xff\xff\xff\xff", blob.replace(b"100", b"101")):
        with pytest.raises(DamagedError):
            Parts(bad, "kind")["a"]
    with pytest.raises(DamagedError):
        Parts(blob, "other")
    with pytest.raises(DamagedError):
        Parts(blob, "kind")["c"]
