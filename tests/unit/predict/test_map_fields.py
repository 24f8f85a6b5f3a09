# SPDX-License-Identifier: Apache-2.0
"""Special fields of a map's value: behind arrays and structs, in types that anybody may have written."""

from __future__ import annotations

from tests.btfwriter import BtfWriter

from holdfast.predict.map_use import special_fields
from holdfast.rules.map_fields import Field


def test_fields_behind_arrays_and_structs() -> None:
    btf = BtfWriter()
    number = btf.integer()
    lock = btf.struct("bpf_spin_lock", 4, ("val", number, 0))
    inner = btf.struct("inner", 8, ("locks", btf.array(lock, 2), 0))
    outer = btf.struct("outer", 12, ("a", inner, 0), ("b", number, 64))
    assert special_fields(btf.btf(), outer)[0] == {Field.SPIN_LOCK}


def test_types_of_themselves_end() -> None:
    btf = BtfWriter()
    number = btf.integer()
    own = btf.array(number + 1, 2)
    assert own == number + 1
    section = btf.datasec("x", 4, (own + 2, 0, 4))
    btf.var("v", section)
    assert special_fields(btf.btf(), own)[0] == frozenset()
    assert special_fields(btf.btf(), section)[0] == frozenset()


def test_types_that_hold_each_the_next_many_times_end() -> None:
    btf = BtfWriter()
    last = btf.integer()
    for level in range(8):
        last = btf.struct(f"s{level}", 4, *((f"m{at}", last, 0) for at in range(100)))
    assert special_fields(btf.btf(), last)[0] == frozenset()
