# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno

import pytest
from tests.btfwriter import BtfWriter

from holdfast.btf.skip import UnsizedError, element_type, pointer_size, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Kind
from holdfast.errors import BtfError


def test_modifiers_are_skipped_and_pointers_are_not() -> None:
    w = BtfWriter()
    pointer = w.ptr(w.integer())
    chain = w.typedef("t", w.const(w.modifier(Kind.VOLATILE, w.modifier(Kind.TYPE_TAG, pointer, "rcu"))))
    assert skip_mods_and_typedefs(w.btf(), chain)[0] == pointer
    nothing = w.const(0)
    assert skip_mods_and_typedefs(w.btf(), nothing)[0] == 0


def test_sizes() -> None:
    w = BtfWriter()
    number = w.integer("short", 2)
    struct = w.struct("s", 24)
    cases = {
        number: 2,
        struct: 24,
        w.ptr(0): 4,
        w.array(struct, 3): 72,
        w.array(w.array(number, 5), 3): 30,
        w.array(number, 0): 0,
        w.typedef("t", w.const(struct)): 24,
        w.enum("e", size=1): 1,
        w.enum64("e"): 8,
        w.floating("double", 8): 8,
        w.var("v", struct): 24,
        w.datasec(".data", 48): 48,
    }
    btf = w.btf()
    assert {type_id: resolve_size(btf, type_id, 4) for type_id in cases} == cases


def test_what_has_no_size() -> None:
    w = BtfWriter()
    proto = w.proto(0)
    wrong = {
        0: errno.EINVAL,
        w.fwd("s"): errno.EINVAL,
        proto: errno.EINVAL,
        w.func("f", proto): errno.EINVAL,
        w.array(w.array(w.integer("long", 8), 1 << 20), 1 << 20): errno.E2BIG,
        w.array(w.integer("int", 4), 1 << 31): errno.E2BIG,
        w.typedef("loop", w.next_id): errno.EINVAL,
    }
    btf = w.btf()
    for type_id, number in wrong.items():
        with pytest.raises(UnsizedError) as caught:
            resolve_size(btf, type_id, 8)
        assert caught.value.errno == number


def test_loops_end() -> None:
    w = BtfWriter()
    w.const(2)
    w.typedef("t", 1)
    with pytest.raises(BtfError, match="of itself"):
        skip_mods_and_typedefs(w.btf(), 1)


def test_what_an_array_is_of() -> None:
    w = BtfWriter()
    number = w.integer()
    grid = w.array(w.typedef("row", w.array(number, 2)), 3)
    own = w.array(grid + 1, 1)
    assert own == grid + 1
    assert element_type(w.btf(), grid)[0] == number
    assert element_type(w.btf(), number)[0] == number
    with pytest.raises(BtfError, match="an array of itself"):
        element_type(w.btf(), own)


@pytest.mark.parametrize(
    ("name", "size", "expected"), [("long", 4, 4), ("unsigned long", 8, 8), ("int", 4, 8)]
)
def test_pointer_size(name: str, size: int, expected: int) -> None:
    w = BtfWriter()
    w.integer(name, size)
    base = w.btf()
    assert pointer_size(base) == expected
    assert pointer_size(BtfWriter(base=base).btf()) == expected
