# SPDX-License-Identifier: Apache-2.0
"""The three relations between types, case by case; each pair is (what the object says, what the kernel
has).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.btfwriter import SIGNED, BtfWriter

from holdfast.btf.types import Kind
from holdfast.relo import fields_are_compat, types_are_compat, types_match
from holdfast.relo.failure import Refused

Make = Callable[[BtfWriter], int]


def integer(size: int = 4, encoding: int = SIGNED, offset: int = 0) -> Make:
    return lambda w: w.integer("int", size, encoding, 0, offset)


def pointer(to: Make) -> Make:
    return lambda w: w.ptr(to(w))


def void(_: BtfWriter) -> int:
    return 0


def struct(name: str = "s", *members: tuple[str, Make], union: bool = False) -> Make:
    def make(w: BtfWriter) -> int:
        rows = [(member, kind(w), 0) for member, kind in members]
        return (w.union if union else w.struct)(name, 8, *rows)

    return make


def union(name: str = "s", *members: tuple[str, Make]) -> Make:
    return struct(name, *members, union=True)


def fwd(name: str = "s", is_union: bool = False) -> Make:
    return lambda w: w.fwd(name, is_union)


def enum(name: str = "e", *values: str, size: int = 4, wide: bool = False) -> Make:
    rows = [(value, at) for at, value in enumerate(values)]
    return lambda w: (w.enum64 if wide else w.enum)(name, *rows, size=size)


def array(of: Make, nelems: int = 2) -> Make:
    return lambda w: w.array(of(w), nelems)


def proto(returns: Make, *params: Make) -> Make:
    return lambda w: w.proto(returns(w), *(("", param(w)) for param in params))


def wrapped(inner: Make) -> Make:
    def make(w: BtfWriter) -> int:
        tagged = w.modifier(
            Kind.TYPE_TAG, w.modifier(Kind.RESTRICT, w.modifier(Kind.VOLATILE, inner(w))), "rcu"
        )
        return w.typedef("t", w.const(tagged))

    return make


def floating(w: BtfWriter) -> int:
    return w.floating("double", 8)


def relation(test: Callable[..., bool], mine: Make, theirs: Make) -> bool:
    local, kernel = BtfWriter(), BtfWriter()
    kernel.integer()  # ids must not be the same by chance
    local_id, kernel_id = mine(local), theirs(kernel)
    return test(local.btf(), local_id, kernel.btf(), kernel_id)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (integer(), integer(8, 0), True),
        (integer(), wrapped(integer()), True),
        (integer(), integer(offset=3), False),
        (integer(offset=3), integer(offset=3), False),
        (integer(), enum(), False),
        (integer(), pointer(void), False),
        (struct("a"), union("b"), True),
        (struct("a"), fwd("a"), False),
        (pointer(integer()), pointer(struct()), True),
        (floating, floating, True),
        (enum("a"), enum("b"), False),
        (enum("a___x"), enum("a"), True),
        (enum("a"), enum("a", wide=True), True),
        (enum(""), enum("b"), True),
        (enum("a"), enum(""), True),
        (fwd("a"), fwd("a", True), True),
        (fwd("a"), fwd("b"), False),
        (array(integer(), 2), array(integer(8), 0), True),
        (array(integer()), array(pointer(void)), False),
        (array(array(integer())), array(integer()), False),
        (array(enum("a")), array(enum("b")), False),
        (proto(void), proto(void), False),
        (void, void, False),
    ],
)
def test_fields(mine: Make, theirs: Make, expected: bool) -> None:
    assert relation(fields_are_compat, mine, theirs) is expected


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (struct("a"), struct("b"), True),
        (struct("a"), union("a"), False),
        (fwd("a"), fwd("b"), True),
        (enum("a"), enum("b", wide=True), True),
        (integer(), integer(8, 0), True),
        (integer(), integer(offset=1), False),
        (floating, floating, False),
        (void, void, True),
        (pointer(void), pointer(struct()), False),
        (pointer(struct("a")), pointer(struct("b")), True),
        (pointer(struct("a")), pointer(wrapped(struct("b"))), True),
        (array(integer()), array(integer(), 9), True),
        (proto(integer(), pointer(struct())), proto(integer(8, 0), pointer(struct("b"))), True),
        (proto(integer(), integer()), proto(integer()), False),
        (proto(integer()), proto(void), False),
        (proto(void, integer()), proto(void, pointer(void)), False),
        (proto(void, pointer(proto(void))), proto(void, pointer(proto(integer()))), False),
    ],
)
def test_compatible_types(mine: Make, theirs: Make, expected: bool) -> None:
    assert relation(types_are_compat, mine, theirs) is expected


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (integer(), integer(), True),
        (integer(), integer(8), False),
        (integer(), integer(4, 0), False),
        (integer(), wrapped(integer()), True),
        (struct("s", ("a", integer())), struct("s", ("b", integer()), ("a", integer())), True),
        (struct("s", ("a", integer())), struct("s", ("a", integer(8))), False),
        (struct("s", ("a", integer())), struct("s", ("b", integer())), False),
        (struct("s", ("a", integer()), ("b", integer())), struct("s", ("a", integer())), False),
        (struct("s___x"), struct("s"), True),
        (struct("s"), struct("t"), False),
        (struct("s"), union("s"), False),
        (pointer(struct("s", ("a", integer()))), pointer(struct("s")), True),
        (pointer(struct("s")), pointer(struct("t")), False),
        (pointer(struct("s")), pointer(union("s")), False),
        (pointer(struct("s")), pointer(fwd("s")), True),
        (pointer(struct("s")), pointer(fwd("s", True)), False),
        (pointer(union("s")), pointer(fwd("s", True)), True),
        (pointer(fwd("s")), pointer(struct("s")), True),
        (pointer(fwd("s")), pointer(union("s")), False),
        (pointer(fwd("s", True)), pointer(union("s")), True),
        (pointer(fwd("s")), pointer(fwd("s", True)), False),
        (fwd("s"), fwd("s"), True),
        (fwd("s"), struct("s"), False),
        (struct("s"), fwd("s"), False),
        (pointer(void), pointer(void), True),
        (pointer(void), pointer(integer()), False),
        (array(integer(), 2), array(integer(), 2), True),
        (array(integer(), 2), array(integer(), 3), False),
        (enum("e", "A"), enum("e", "B", "A"), True),
        (enum("e", "A___x"), enum("e", "A"), True),
        (enum("e", "A"), enum("e", "B"), False),
        (enum("e", "A", "B"), enum("e", "A"), False),
        (enum("e", "A"), enum("e", "A", wide=True), True),
        (enum("e", "A"), enum("e", "A", size=8), False),
        (enum("e", "A"), integer(), False),
        (proto(integer(), pointer(struct("s"))), proto(integer(), pointer(struct("s"))), True),
        (proto(integer(), pointer(struct("s"))), proto(integer(), pointer(struct("t"))), False),
        (proto(integer()), proto(integer(8)), False),
        (proto(void), proto(void, integer()), False),
        (floating, floating, False),
    ],
)
def test_matching_types(mine: Make, theirs: Make, expected: bool) -> None:
    assert relation(types_match, mine, theirs) is expected


def deep(levels: int) -> Make:
    def make(w: BtfWriter) -> int:
        found = w.struct("s", 8)
        for _ in range(levels):
            found = w.ptr(found)
        return found

    return make


def test_depth_is_limited_as_in_libbpf() -> None:
    assert relation(types_are_compat, deep(31), deep(31))
    for test in (types_are_compat, types_match):
        with pytest.raises(Refused):
            relation(test, deep(32), deep(32))


def test_prototypes_that_take_themselves_end() -> None:
    def own(w: BtfWriter) -> int:
        return w.proto(0, ("f", w.next_id + 1), ("g", w.next_id + 1)) and w.ptr(w.next_id - 1)

    for test in (types_are_compat, types_match):
        with pytest.raises(Refused):
            relation(test, own, own)


def test_types_that_branch_out_end() -> None:
    def fan(w: BtfWriter) -> int:
        found = w.integer()
        for _ in range(28):  # 2 ** 28 ways down
            found = w.proto(found, ("", found), ("", found))
        return found

    for test in (types_are_compat, types_match):
        with pytest.raises(Refused):
            relation(test, fan, fan)
