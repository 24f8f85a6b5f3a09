# SPDX-License-Identifier: Apache-2.0
"""Sizes that the kernel copies."""

from __future__ import annotations

import pytest

from holdfast.sys import pack_skb, possible_cpus, value_stride, value_window
from holdfast.terms import MapType


@pytest.mark.parametrize(("size", "stride"), [(1, 8), (7, 8), (8, 8), (9, 16), (64, 64)])
def test_stride_is_rounded_to_eight_bytes(size: int, stride: int) -> None:
    assert value_stride(size) == stride


def test_window_of_a_per_cpu_map_counts_possible_cpus() -> None:
    assert value_window(MapType.PERCPU_ARRAY, 12) == 16 * possible_cpus()
    assert value_window(MapType.ARRAY, 12) == 12


def test_window_of_a_map_of_maps_is_an_id() -> None:
    assert value_window(MapType.HASH_OF_MAPS, 4) == 4


def test_skb_fields_lie_where_the_header_says() -> None:
    block = pack_skb(mark=0x11223344, priority=5, cb=(1, 2, 3, 4, 5), tstamp=9)
    assert len(block) == 192
    assert int.from_bytes(block[8:12], "little" if block[8] == 0x44 else "big") == 0x11223344
    assert block[48:68].count(0) == 15
    assert block.count(9) == 1


def test_skb_field_that_cannot_be_set_is_named() -> None:
    with pytest.raises(ValueError, match=r"__sk_buff\.hash"):
        pack_skb(hash=1)
