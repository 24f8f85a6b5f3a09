# SPDX-License-Identifier: Apache-2.0
"""Reads of kernel structs at fixed offsets, as btf_struct_walk() judges them."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter

from holdfast.btf.types import Kind
from holdfast.rules.struct_access import Pointed, Refusal, Shape, at, extent, pointed


def a_struct() -> tuple[Pointed, dict[str, int]]:
    """::

    struct outer {                  // 72 bytes
        int first;                  // 0
                                    // 4: a hole
        struct task *task;          // 8
        struct { short a, b; } in;  // 16
        char text[6];               // 20
        unsigned low : 3;           // 28
        void *any;                  // 32
        struct task each[2];        // 40
    };
    """
    writer = BtfWriter()
    number = writer.integer("int", 4)
    short = writer.integer("short", 2)
    char = writer.integer("char", 1)
    task = writer.struct("task", 16, ("pid", number, 0), ("again", writer.ptr(0), 64))
    inner = writer.struct("", 4, ("a", short, 0), ("b", short, 16))
    outer = writer.struct(
        "outer",
        72,
        ("first", number, 0),
        ("task", writer.ptr(task), 64),
        ("in", inner, 128),
        ("text", writer.array(char, 6, number), 160),
        ("low", number, 224, 3),
        ("any", writer.ptr(0), 256),
        ("each", writer.array(task, 2, number), 320),
    )
    return Pointed(writer.btf(), outer), {"task": task}


@pytest.mark.parametrize(
    ("offset", "size", "says"),
    [
        (0, 4, Shape.NUMBER),
        (2, 2, Shape.NUMBER),  # part of a number
        (0, 8, "first ends at 4"),
        (4, 4, "no member at offset 4"),
        (4, 8, "no member at offset 4"),
        (8, 4, "pointer task at 8"),
        (12, 8, "pointer task at 8"),
        (18, 2, Shape.NUMBER),
        (18, 4, "offset 2, and struct (anonymous) has 4 bytes"),
        (21, 4, Shape.NUMBER),  # an array of numbers is a scratch space
        (24, 4, "text ends at 26"),
        (28, 4, Shape.NUMBER),
        (28, 1, Shape.NUMBER),
        (32, 8, Shape.OTHER),
        (56, 4, Shape.NUMBER),  # of the second element
        (60, 4, "no member at offset 4"),
        (64, 8, Shape.OTHER),
        (72, 1, "struct outer has 72 bytes"),
        (-8, 8, "8 bytes before"),
    ],
)
def test_an_access_must_hit_a_member(offset: int, size: int, says: Shape | str) -> None:
    struct, _ = a_struct()
    found = at(struct, offset, size)
    if isinstance(says, Shape):
        assert found is says
    else:
        assert isinstance(found, Refusal) and says in found.why


def test_a_pointer_leads_on() -> None:
    struct, ids = a_struct()
    assert at(struct, 8, 8) == Pointed(struct.btf, ids["task"])


def test_what_differs_between_releases_is_left_open() -> None:
    writer = BtfWriter()
    number = writer.integer("int", 4)
    tagged = writer.ptr(writer.modifier(Kind.TYPE_TAG, number, "percpu"))
    either = writer.union("", 8, ("a", number, 0), ("b", writer.ptr(0), 0))
    last = writer.array(number, 0, number)
    outer = writer.struct("outer", 16, ("of", either, 0), ("tagged", tagged, 64), ("more", last, 128))
    struct = Pointed(writer.btf(), outer)
    assert at(struct, 0, 8) is Shape.UNTOLD  # 8 bytes of the first member of a union
    assert at(struct, 8, 8) is Shape.UNTOLD
    assert at(struct, 20, 4) is Shape.UNTOLD  # an element of the last array
    assert pointed(struct.btf, tagged) is Shape.UNTOLD
    assert pointed(struct.btf, number) is Shape.NUMBER
    assert pointed(struct.btf, 0) is Shape.UNTOLD


def test_a_nameless_struct_of_itself_ends() -> None:
    btf = BtfWriter()
    number = btf.integer()
    own = number + 2
    outer = btf.struct("outer", 8, ("", own, 0), ("x", number, 32))
    assert btf.struct("", 8, ("", own, 0), ("", own, 0)) == own
    assert extent(btf.btf(), outer, "x") == (4, 8)
    assert extent(btf.btf(), outer, "y") is None
