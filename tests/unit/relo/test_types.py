# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.relo.cases import at, mov, resolved

from holdfast.btf.ext import CoreReloKind


def test_ids_are_not_checked_against_the_instruction() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8)
    kernel.integer()
    there = kernel.struct("s", 24)
    mine = resolved(local, kernel, at(type_id, "0", CoreReloKind.TYPE_ID_LOCAL), mov(77))
    assert (mine.value, mine.error) == (type_id, None)
    theirs = resolved(local, kernel, at(type_id, "0", CoreReloKind.TYPE_ID_TARGET), mov(77))
    assert (theirs.value, theirs.error) == (there, None)
    assert theirs.spec == f"<target_type_id> [{type_id}] struct s"


def test_a_local_id_needs_no_name_and_no_kernel() -> None:
    local = BtfWriter()
    type_id = local.struct("", 8)
    assert resolved(local, BtfWriter(), at(type_id, "0", CoreReloKind.TYPE_ID_LOCAL)).value == type_id


@pytest.mark.parametrize(
    ("kind", "found", "absent"),
    [(CoreReloKind.TYPE_EXISTS, 1, 0), (CoreReloKind.TYPE_SIZE, 24, 0), (CoreReloKind.TYPE_MATCHES, 1, 0)],
)
def test_a_missing_type_is_zero(kind: CoreReloKind, found: int, absent: int) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8)
    assert resolved(local, kernel, at(type_id, "0", kind)).value == absent
    kernel.struct("s", 24)
    assert resolved(local, kernel, at(type_id, "0", kind)).value == found


def test_an_accessor_makes_no_sense_for_a_type() -> None:
    local = BtfWriter()
    type_id = local.struct("s", 8)
    result = resolved(local, local, at(type_id, "0:0", CoreReloKind.TYPE_EXISTS))
    assert result.error
    assert result.error.errno == errno.EINVAL


def test_the_other_kinds_of_that_name_are_told() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8)
    kernel.typedef("s", kernel.integer())
    result = resolved(local, kernel, at(type_id, "0", CoreReloKind.TYPE_EXISTS))
    assert result.missing == "no struct s in vmlinux (there is typedef s)"


def test_a_type_that_does_not_match() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.struct("s", 8, ("a", local.integer(), 0))
    kernel.struct("s", 8)
    result = resolved(local, kernel, at(type_id, "0", CoreReloKind.TYPE_MATCHES))
    assert result.missing == "struct s does not have all that the object's declares"


@pytest.mark.parametrize(("size", "expected"), [(4, 4), (8, 8), (2, 8)])
def test_a_kernels_pointers_are_as_long_as_its_long(size: int, expected: int) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.typedef("p", local.ptr(0))
    kernel.integer("long unsigned int", size, 0)
    kernel.typedef("p", kernel.ptr(0))
    result = resolved(local, kernel, at(type_id, "0", CoreReloKind.TYPE_SIZE))
    assert (result.orig_value, result.value) == (8, expected)
