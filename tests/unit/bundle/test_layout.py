# SPDX-License-Identifier: Apache-2.0
"""Layouts that are the same in spite of their spelling, and where they differ."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter

from holdfast.btf.types import Kind
from holdfast.bundle.layout import Difference, difference, spelled_names
from holdfast.errors import BtfError


def compare(left: BtfWriter, left_id: int, right: BtfWriter, right_id: int) -> Difference | None:
    return difference(left.btf(), left_id, right.btf(), right_id)


def config(
    *,
    offset: int = 32,
    size: int = 4,
    encoding: int = 0,
    elements: int = 3,
    second: str = "types",
    bits: int = 5,
    value: int = 7,
    total: int = 40,
) -> tuple[BtfWriter, int]:
    """A struct with a bit of everything, and its id."""
    w = BtfWriter()
    u32 = w.integer("unsigned int", size, encoding)
    kind = w.enum("kind", ("KIND_A", 1), ("KIND_B", value))
    inner = w.struct("inner", 8, ("x", u32, 0), ("y", u32, 32))
    array = w.array(inner, elements)
    found = w.struct(
        "config",
        total,
        ("first", w.typedef("__u32", w.const(u32)), 0, 0),
        (second, u32, offset, 0),
        ("rows", array, 64, 0),
        ("flag", u32, 256, bits),
        ("kind", kind, 288, 0),
    )
    return w, found


def test_spelling_is_no_layout() -> None:
    left, here = config()
    right = BtfWriter()
    right.floating("double", 8)  # other ids
    u32 = right.typedef("u32", right.integer("unsigned", 4, 0))
    kind = right.enum("other", ("KIND_B", 7), ("KIND_C", 9))
    inner = right.modifier(Kind.VOLATILE, right.struct("", 8, ("y", u32, 32), ("x", u32, 0)))
    anonymous = right.struct("", 8, ("first", u32, 0), ("types", u32, 32))
    there = right.struct(
        "config_of_mine",
        40,
        ("", anonymous, 0, 0),
        ("rows", right.array(inner, 3), 64, 0),
        ("flag", u32, 256, 5),
        ("kind", kind, 288, 0),
    )
    assert compare(left, here, right, right.const(right.typedef("config_t", there))) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"offset": 48}, Difference("member 'types'", "at bit 32", "at bit 48")),
        ({"second": "kinds"}, Difference("member 'types'", "at bit 32", "there is none")),
        ({"size": 2}, Difference("member 'first'", "has 4 bytes", "2")),
        ({"encoding": 1}, Difference("member 'first'", "is unsigned", "signed")),
        ({"elements": 4}, Difference("member 'rows'", "has 3 elements", "4")),
        ({"bits": 6}, Difference("member 'flag'", "is a bit field of 5 bits", "is a bit field of 6 bits")),
        ({"bits": 0}, Difference("member 'flag'", "is a bit field of 5 bits", "is no bit field")),
        ({"value": 8}, Difference("enumerator KIND_B", "is 7", "8")),
        ({"total": 48}, Difference("it", "has 40 bytes", "48")),
    ],
)
def test_every_difference_is_named(change: dict[str, int], expected: Difference) -> None:
    assert compare(*config(), *config(**change)) == expected  # type: ignore[arg-type]
    assert compare(*config(**change), *config()) is not None  # type: ignore[arg-type]


def test_differences_inside_are_named_by_their_path() -> None:
    found = []
    for offset in 0, 32:
        w = BtfWriter()
        u32 = w.integer("unsigned int", 4, 0)
        deep = w.struct("deep", 8, ("here", u32, offset))
        found.append((w, w.struct("outer", 16, ("rows", w.array(w.array(deep, 2), 1), 0))))
    assert compare(*found[0], *found[1]) == Difference("member 'rows[][].here'", "at bit 0", "at bit 32")


def test_a_member_too_many() -> None:
    found = []
    for members in ([("a", 1, 0)], [("a", 1, 0), ("b", 1, 32)]):
        w = BtfWriter()
        w.integer()
        found.append((w, w.struct("s", 8, *members)))
    assert compare(*found[0], *found[1]) == Difference("member 'b'", "is missing", "at bit 32")
    assert compare(*found[1], *found[0]) == Difference("member 'b'", "at bit 32", "there is none")


def test_kinds_and_pointers() -> None:
    w = BtfWriter()
    number, real = w.integer("long", 8), w.floating("double", 8)
    pointer, other = w.ptr(number), w.ptr(real)
    assert compare(w, number, w, real) == Difference("it", "is an integer", "it is a float")
    assert compare(w, pointer, w, other) is None  # what is pointed at is not shared


def test_data_sections_are_compared_by_variable() -> None:
    found = []
    for offset in 0, 4:
        w = BtfWriter()
        u32 = w.integer("unsigned int", 4, 0)
        answer = w.var("answer", w.const(u32))
        found.append((w, w.datasec(".rodata", 8, (answer, offset, 4))))
    assert compare(*found[0], *found[1]) == Difference("member 'answer'", "at bit 0", "at bit 32")


def test_names_as_c_spells_them() -> None:
    w = BtfWriter()
    inner = w.struct("count", 4, ("a", w.integer(), 0))
    named = w.const(w.typedef("count_t", w.typedef("count_u", inner)))
    anonymous = w.union("", 4)
    btf = w.btf()
    assert spelled_names(btf, named) == ("count_t", "count_u", "struct count")
    assert spelled_names(btf, 1 if btf.name(1) == "int" else 2) == ("int",)
    assert spelled_names(btf, anonymous) == ()


def test_types_that_hold_themselves_end() -> None:
    w = BtfWriter()
    w.struct("a", 8, ("a", 1, 0))  # id 1
    w.struct("b", 8, ("", 2, 0), ("", 2, 0))  # id 2
    w.array(3, 2)  # id 3
    w.typedef("t", 4)  # id 4
    right = BtfWriter()
    right.struct("a", 8, ("a", 1, 0))
    right.struct("b", 8, ("", 2, 0), ("", 2, 0))
    right.array(3, 2)
    right.typedef("t", 4)
    for type_id in 1, 2, 3, 4:
        with pytest.raises(BtfError):
            compare(w, type_id, right, type_id)
