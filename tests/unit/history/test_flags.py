# SPDX-License-Identifier: Apache-2.0
"""Which flags tighten, and when trusted arguments became the rule."""

from __future__ import annotations

import pytest

from holdfast.history.change import Effect
from holdfast.history.flags import FLAGS, FlagEra, compare

OLD = FlagEra(frozenset({"RCU", "TRUSTED_ARGS", "RET_NULL"}))
NEW = FlagEra(frozenset({"RCU", "RET_NULL", "SPINLOCK_SAFE", "PERFMON"}))  # as 7.0 on: no TRUSTED_ARGS


def flags(text: str) -> frozenset[str]:
    return frozenset(text.split())


def effects(before: str, after: str, old: FlagEra = OLD, new: FlagEra = OLD, **options: bool) -> list[Effect]:
    return [change.effect for change in compare(flags(before), flags(after), old, new, **options)]


T, W, N = Effect.TIGHTENS, Effect.WIDENS, Effect.NEUTRAL


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", []),
        ("", "RET_NULL", [T]),
        ("RET_NULL", "", [W]),
        ("", "SLEEPABLE", [T]),
        ("SLEEPABLE", "", [W]),
        ("", "PERFMON", [T]),
        ("", "DESTRUCTIVE", [T]),
        ("ACQUIRE", "", [T]),
        ("", "FASTCALL", [N]),
        ("", "TRUSTED_ARGS", [T]),
        ("TRUSTED_ARGS", "", [W]),
        ("", "RCU", [T]),
        ("TRUSTED_ARGS", "RCU", [W]),
        ("RCU", "TRUSTED_ARGS", [T]),
        ("RCU TRUSTED_ARGS", "RCU", []),  # RCU had won already
        ("RELEASE", "RELEASE TRUSTED_ARGS", []),  # released arguments were always trusted
        ("", "SOMETHING_NEW", [T]),
    ],
)
def test_effect(before: str, after: str, expected: list[Effect]) -> None:
    assert effects(before, after) == expected


def test_trusted_by_default_tightens_what_had_no_flag() -> None:
    assert NEW.trusted_by_default and not OLD.trusted_by_default
    assert not FlagEra(frozenset()).trusted_by_default  # nothing was read
    assert effects("", "", OLD, NEW) == [T]
    assert effects("TRUSTED_ARGS", "", OLD, NEW) == []
    assert effects("RCU", "RCU", OLD, NEW) == []
    assert effects("", "", OLD, NEW, objects=False) == []


def test_a_flag_that_only_writes_down_an_old_list_changes_nothing() -> None:
    assert effects("", "SPINLOCK_SAFE", OLD, NEW, objects=False) == [N]
    assert effects("", "SPINLOCK_SAFE", NEW, NEW) == [W]
    assert effects("SPINLOCK_SAFE", "", NEW, NEW) == [T]


def test_every_flag_says_what_it_asks_for() -> None:
    assert all(rule.asks for rule in FLAGS.values())
