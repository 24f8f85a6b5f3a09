# SPDX-License-Identifier: Apache-2.0
"""Several candidates, and where they are looked for."""

from __future__ import annotations

import errno

from tests.btfwriter import BtfWriter
from tests.unit.relo.cases import at, mov, resolved, target_of

from holdfast.btf.ext import CoreReloKind
from holdfast.relo import Relocator, Target, resolve


def two_fields(writer: BtfWriter) -> int:
    number = writer.integer()
    return writer.struct("s", 8, ("a", number, 0), ("b", number, 32))


def test_candidates_that_agree_are_all_chosen() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = two_fields(local)
    number = kernel.integer()
    first = kernel.struct("s", 8, ("a", number, 64))
    second = kernel.struct("s___2", 80, ("a", number, 64), ("c", number, 0))
    result = resolved(local, kernel, at(type_id, "0:0"))
    assert result.value == 8
    assert [spec.root_type_id for spec in result.candidates] == [first, second]


def test_candidates_that_disagree_stop_the_object() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = two_fields(local)
    number = kernel.integer()
    kernel.struct("s", 8, ("a", number, 0))
    kernel.struct("s", 8, ("a", number, 64))
    result = resolved(local, kernel, at(type_id, "0:0"))
    assert result.error
    assert result.error.errno == errno.EINVAL
    assert result.error.message == "field offset ambiguity: 64 != 0"
    # even where the value would be the same
    assert resolved(local, kernel, at(type_id, "0:0", CoreReloKind.FIELD_EXISTS)).error


def test_values_that_disagree_stop_the_object() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = local.enum("e", ("A", 1))
    kernel.enum("e", ("A", 1))
    kernel.enum("e", ("A", 2))
    result = resolved(local, kernel, at(type_id, "0", CoreReloKind.ENUMVAL_VALUE))
    assert result.error
    assert result.error.message == "relocation decision ambiguity: success 2 != success 1"


def test_a_relocation_narrows_the_candidates_of_later_ones() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = two_fields(local)
    number = kernel.integer()
    kernel.struct("s", 16, ("a", number, 0))
    kernel.struct("s", 16, ("a", number, 64), ("b", number, 32))
    relocator = Relocator(local.btf(), target_of(kernel))
    a, b = at(type_id, "0:0"), at(type_id, "0:1")
    assert relocator.resolve(a, mov(0)).error
    assert relocator.resolve(b, mov(4)).value == 4
    assert relocator.resolve(a, mov(0)).value == 8, "only the candidate with b is left"
    again = relocator.restart()
    assert again.resolve(a, mov(0)).error, "another run starts from all candidates"
    assert resolve(a, mov(0), local.btf(), target_of(kernel)).error


def test_a_relocation_that_nothing_matches_narrows_nothing() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = two_fields(local)
    for _ in range(2):
        kernel.struct("s", 16, ("a", kernel.integer(), 64))
    relocator = Relocator(local.btf(), target_of(kernel))
    assert relocator.resolve(at(type_id, "0:1"), mov(4)).poison
    assert len(relocator.resolve(at(type_id, "0:0"), mov(0)).candidates) == 2


def test_modules_are_asked_when_vmlinux_has_no_candidate() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = two_fields(local)
    kernel.integer()
    vmlinux = kernel.btf("vmlinux")
    modules = {}
    for name, offset in (("one", 64), ("two", 64)):
        writer = BtfWriter(base=vmlinux)
        writer.struct("s", 16, ("a", 1, offset))
        modules[name] = writer.btf(name)
    result = Relocator(local.btf(), Target(vmlinux, modules)).resolve(at(type_id, "0:0"), mov(0))
    assert result.value == 8
    assert [spec.side.name for spec in result.candidates] == ["one", "two"]
    missing = Relocator(local.btf(), Target(vmlinux, {})).resolve(at(type_id, "0:0"), mov(0))
    assert missing.missing == "no struct s in vmlinux"


def test_modules_are_not_asked_when_vmlinux_has_one_even_if_it_does_not_match() -> None:
    class Untouchable(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            raise AssertionError(name)

    local, kernel = BtfWriter(), BtfWriter()
    type_id = two_fields(local)
    kernel.struct("s", 8)
    target = Target(kernel.btf(), Untouchable({"module": None}))  # type: ignore[arg-type]
    result = Relocator(local.btf(), target).resolve(at(type_id, "0:0"), mov(0))
    assert result.poison
    assert result.missing == "struct s has no field 'a'"


def test_a_name_in_the_strings_of_the_kernel_is_found_in_a_module() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    type_id = two_fields(local)
    kernel.fwd("s")
    vmlinux = kernel.btf("vmlinux")
    writer = BtfWriter(base=vmlinux)
    writer.offsets["s"] = kernel.offsets["s"]  # as pahole does
    writer.struct("s", 8, ("a", writer.integer(), 64))
    result = Relocator(local.btf(), Target(vmlinux, {"m": writer.btf("m")})).resolve(
        at(type_id, "0:0"), mov(0)
    )
    assert result.value == 8


def test_matches_are_shared_by_objects_of_equal_shape_only() -> None:
    kernel = BtfWriter()
    kernel.struct("s", 8, ("a", kernel.ptr(0), 32))
    target = target_of(kernel)
    number, pointer = BtfWriter(), BtfWriter()
    number_id = number.struct("s", 4, ("a", number.integer(), 0))
    pointer_id = pointer.struct("s", 8, ("a", pointer.ptr(0), 0))
    assert Relocator(number.btf(), target).resolve(at(number_id, "0:0"), mov(0)).poison
    assert Relocator(pointer.btf(), target).resolve(at(pointer_id, "0:0"), mov(0)).value == 4
