# SPDX-License-Identifier: Apache-2.0
"""Tags of pointers in map values: names changed in 6.4, and an unknown one hides the other fields."""

from __future__ import annotations

from tests.unit.rules.era import Era

from holdfast.rules.ask import Allowed
from holdfast.rules.kptrs import exchanged, found
from holdfast.rules.map_fields import Field
from holdfast.rules.map_use import locked_inside

KPTR, REF, UPTR = frozenset({"kptr"}), frozenset({"kptr_ref"}), frozenset({"kptr", "uptr"})
FIELDS = frozenset({Field.KPTR, Field.UPTR, Field.TIMER})


def allowed(tags: frozenset[str], *release: int) -> Allowed:
    return exchanged(frozenset({tags}), Era(*release)).allowed


def test_a_referenced_kptr_was_called_kptr_ref_before_6_4() -> None:
    assert allowed(KPTR, 6, 1) is Allowed.NO
    assert allowed(REF, 6, 1) is Allowed.YES
    assert allowed(KPTR, 6, 4) is Allowed.YES
    assert allowed(REF, 6, 4) is Allowed.NO


def test_since_6_13_there_are_kptrs_outside_maps() -> None:
    assert exchanged(frozenset(), Era(6, 12)).allowed is Allowed.NO
    assert exchanged(frozenset(), Era(6, 13)).allowed is Allowed.YES


def test_an_unknown_tag_hides_the_pointers_and_since_6_2_all_fields() -> None:
    assert found(FIELDS, UPTR, Era(6, 1)) == {Field.TIMER}
    assert found(FIELDS, UPTR, Era(6, 12)) == frozenset()
    assert found(FIELDS, UPTR, Era(6, 13)) == FIELDS
    assert allowed(UPTR, 6, 12) is Allowed.NO


def test_inner_maps_may_hold_a_lock_since_6_2() -> None:
    assert locked_inside(Era(6, 1)).allowed is Allowed.NO
    assert locked_inside(Era(6, 2)).allowed is Allowed.YES
