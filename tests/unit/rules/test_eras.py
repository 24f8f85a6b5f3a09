# SPDX-License-Identifier: Apache-2.0
"""Placing a kernel between the releases."""

from __future__ import annotations

import pytest
from tests.unit.rules.era import Era

from holdfast.rules import eras
from holdfast.rules.ask import Nothing, Sign
from holdfast.rules.helper_table import TREES


def test_markers_come_in_the_order_of_their_releases_and_are_distinct() -> None:
    releases = [release for release, _ in eras.MARKERS]
    assert releases == sorted(set(releases))
    assert len({sign for _, sign in eras.MARKERS}) == len(releases)


@pytest.mark.parametrize(
    ("release", "trees"),
    [
        ((5, 10), [0]),
        ((5, 15), [0, 1]),
        ((6, 1), [1]),
        ((6, 6), [1, 2]),
        ((6, 12), [2]),
        ((6, 14), [2, 3]),
        ((6, 18), [3]),
        ((7, 0), [3, 4]),
        ((7, 1), [4]),
        ((7, 2), [5]),
        ((7, 3), [6]),
    ],
)
def test_a_kernel_between_two_trees_may_follow_either(release: tuple[int, int], trees: list[int]) -> None:
    assert eras.trees_in(Era(*release), TREES) == (trees, False)


def test_without_btf_the_release_number_decides_and_says_so() -> None:
    class Numbered(Nothing):
        def release(self) -> tuple[int, int]:
            return 6, 12

    assert eras.trees_in(Numbered(), TREES) == ([2], True)
    assert eras.trees_in(Nothing(), TREES) == ([0, 1, 2, 3, 4, 5, 6], False)


def test_btf_outweighs_the_release_number() -> None:
    class Backport(Era):
        def release(self) -> tuple[int, int]:
            return 5, 14

    assert eras.window(Backport(6, 12)) == ((6, 12), (6, 13))


def test_since_needs_a_marker() -> None:
    assert eras.since(Era(6, 6), (6, 6)) is True
    assert eras.since(Era(6, 5), (6, 6)) is False
    assert eras.since(Nothing(), (6, 6)) is None
    assert eras.since(Era(6, 6), (6, 100)) is None
    assert eras.since(Nothing(), (5, 10)) is True


def test_a_gap_below_the_newest_marker_does_not_count() -> None:
    class Odd(Era):
        def btf(self, sign: Sign) -> bool | None:
            return False if sign.name == "bpf_dynptr_adjust" else super().btf(sign)

    assert eras.since(Odd(6, 12), (6, 5)) is True
