# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno

import pytest
from tests.btfwriter import SIGNED, BtfWriter
from tests.unit.relo.cases import at, resolved

from holdfast.btf.ext import CoreReloKind


def task(writer: BtfWriter, name: str = "task", pid_bits: int = 32) -> int:
    number = writer.integer("int", 4, SIGNED)
    return writer.struct(name, pid_bits // 8 + 4, ("state", number, 0), ("pid", number, pid_bits))


def test_a_field_that_moved() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id, there = task(local), task(kernel, pid_bits=256)
    result = resolved(local, kernel, at(type_id, "0:1"))
    assert (result.orig_value, result.value) == (4, 32)
    assert result.patched[0].imm == 32
    assert result.spec == f"<byte_off> [{type_id}] struct task.pid (0:1 @ offset 4)"
    (candidate,) = result.candidates
    assert str(candidate) == f"<byte_off> [{there}] struct task.pid (0:1 @ offset 32)"
    assert (candidate.side.name, candidate.root_type_id) == ("vmlinux", there)
    assert not result.missing
    assert not result.error


@pytest.mark.parametrize(
    ("mine", "theirs"), [("task___old", "task"), ("task", "task___2"), ("task___a", "task___b")]
)
def test_flavors_do_not_count(mine: str, theirs: str) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local, mine)
    task(kernel, theirs, 64)
    assert resolved(local, kernel, at(type_id, "0:1")).value == 8


@pytest.mark.parametrize("name", ["task__", "task____x", "tas", "Task"])
def test_other_names_do(name: str) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    task(kernel, name)
    result = resolved(local, kernel, at(type_id, "0:1"))
    assert result.poison
    assert result.missing == "no struct task in vmlinux"


def test_a_flavor_of_a_member_counts() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 4, ("a", local.integer(), 0))
    kernel.struct("s", 4, ("a___b", kernel.integer(), 0))
    assert resolved(local, kernel, at(type_id, "0:0")).missing == "struct s has no field 'a'"


def test_members_of_anonymous_members_are_found_through_them() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    number = kernel.integer()
    inner = kernel.union("", 4, ("other", number, 0), ("pid", number, 0))
    outer = kernel.struct("", 12, ("x", number, 0), ("", inner, 64))
    kernel.struct("task", 24, ("state", number, 0), ("", kernel.const(outer), 64))
    result = resolved(local, kernel, at(type_id, "0:1"))
    assert result.value == 8 + 8
    assert str(result.candidates[0]).endswith("struct task.pid (0:1:1:1 @ offset 16)")


def test_a_missing_field_poisons_but_exists_is_zero() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    kernel.struct("task", 4, ("state", kernel.integer(), 0))
    gone = resolved(local, kernel, at(type_id, "0:1"))
    assert gone.poison
    assert gone.patched[0].imm == 195896080
    assert gone.missing == "struct task has no field 'pid'"
    exists = resolved(local, kernel, at(type_id, "0:1", CoreReloKind.FIELD_EXISTS))
    assert (exists.value, exists.orig_value, exists.poison) == (0, 1, False)
    assert exists.missing == gone.missing


def test_a_field_of_another_kind_is_missing() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    pointer = kernel.ptr(kernel.fwd("pid"))
    kernel.struct("task", 8, ("pid", pointer, 0))
    result = resolved(local, kernel, at(type_id, "0:1"))
    assert result.missing == "field 'pid' of struct task is struct pid *, and the object expects int"


def test_paths_through_structs() -> None:
    def write(writer: BtfWriter, shift: int) -> int:
        number = writer.integer()
        inner = writer.struct("inner", 8 + shift, ("a", number, 0), ("b", number, 32 + 8 * shift))
        return writer.struct(
            "outer", 64, ("first", number, 0), ("in", writer.typedef("in_t", inner), 64 + 8 * shift)
        )

    local, kernel = BtfWriter(), BtfWriter()
    type_id = write(local, 0)
    write(kernel, 8)
    result = resolved(local, kernel, at(type_id, "0:1:1"))
    assert (result.orig_value, result.value) == (12, 16 + 12)
    assert ".in.b (0:1:1 @" in result.spec


@pytest.mark.parametrize(
    ("nelems", "index", "value"), [(4, 3, 4 + 12), (2, 3, None), (0, 3, 4 + 12), (4, 0, 4)], ids=str
)
def test_elements_must_be_inside_unless_the_array_is_flexible(
    nelems: int, index: int, value: int | None
) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    number = local.integer()
    type_id = local.struct("s", 20, ("n", number, 0), ("a", local.array(number, 8), 32))
    number = kernel.integer()
    kernel.struct("s", 20, ("n", number, 0), ("a", kernel.array(number, nelems), 32))
    result = resolved(local, kernel, at(type_id, f"0:1:{index}"))
    if value is None:
        assert result.poison
        assert result.missing == f"struct s has {nelems} elements in 'a', and element {index} is asked for"
    else:
        assert result.value == value


def test_an_empty_array_that_is_not_last_is_no_flexible_one() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    number = local.integer()
    type_id = local.struct("s", 20, ("a", local.array(number, 8), 0))
    number = kernel.integer()
    kernel.struct("s", 4, ("a", kernel.array(number, 0), 0), ("z", number, 0))
    assert resolved(local, kernel, at(type_id, "0:0:1")).poison


def test_the_first_index_counts_whole_types() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    task(kernel, pid_bits=64)
    result = resolved(local, kernel, at(type_id, "2:1"))
    assert (result.orig_value, result.value) == (2 * 8 + 4, 2 * 12 + 8)
    assert result.spec.endswith("struct task[2].pid (2:1 @ offset 20)")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CoreReloKind.FIELD_BYTE_SIZE, 2),
        (CoreReloKind.FIELD_SIGNED, 1),
        (CoreReloKind.FIELD_LSHIFT_U64, 48),
        (CoreReloKind.FIELD_RSHIFT_U64, 48),
        (CoreReloKind.FIELD_EXISTS, 1),
    ],
)
def test_other_kinds_of_field_relocation(kind: CoreReloKind, value: int) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8, ("a", local.integer("u64", 8, 0), 0))
    kernel.struct("s", 4, ("a", kernel.integer("short", 2, SIGNED), 16))
    assert resolved(local, kernel, at(type_id, "0:0", kind)).value == value


def test_sign_of_an_array_element_is_refused() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    for writer in (local, kernel):
        type_id = writer.struct("s", 8, ("a", writer.array(writer.integer(), 2), 0))
    result = resolved(local, kernel, at(type_id, "0:0:1", CoreReloKind.FIELD_SIGNED))
    assert result.error
    assert result.error.errno == errno.EINVAL
    assert "can't be applied to array access" in result.error.message


@pytest.mark.parametrize(
    "access", ["", ":0", "0:", "0::1", "x", "0:9", "0:1:0", "0:-1", "0:99999999999", "0:0" * 33]
)
def test_malformed_accessors_stop_the_object(access: str) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    task(kernel)
    result = resolved(local, kernel, at(type_id, access))
    assert result.error
    assert result.error.errno == errno.EINVAL
    assert result.local is None
    assert not result.patched


def test_a_type_without_name_or_beyond_the_end_stops_the_object() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    anonymous = local.struct("", 4, ("a", local.integer(), 0))
    task(kernel)
    for type_id in (anonymous, 99):
        result = resolved(local, kernel, at(type_id, "0:0"))
        assert result.error
        assert result.error.errno == errno.EINVAL


def test_an_unknown_kind_stops_the_object() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    task(kernel)
    assert resolved(local, kernel, at(type_id, "0:0", 13)).error


def test_anonymous_members_that_contain_themselves_end() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    kernel.struct("task", 8, ("", kernel.next_id, 0), ("", kernel.next_id, 0))
    result = resolved(local, kernel, at(type_id, "0:1"))
    assert result.error
    assert result.error.errno == errno.E2BIG


def test_a_wide_fan_of_anonymous_members_ends() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    last = kernel.struct("", 4, ("x", kernel.integer(), 0))
    for _ in range(40):  # 2 ** 40 ways to the innermost
        last = kernel.struct("", 4, ("", last, 0), ("", last, 0))
    kernel.struct("task", 4, ("", last, 0))
    result = resolved(local, kernel, at(type_id, "0:1"))
    assert result.error
    assert result.error.errno == errno.E2BIG


def test_an_accessor_of_thousands_of_digits() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = task(local)
    task(kernel)
    error = resolved(local, kernel, at(type_id, "0:" + "9" * 5000)).error
    assert error is not None and "is no list of indices" in str(error)
