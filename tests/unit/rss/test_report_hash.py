# SPDX-License-Identifier: Apache-2.0
"""Frames that come without a hash: the same values by numpy, one by one, and where there is no numpy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest
from tests import rssframes

from holdfast.rss import batch, reference
from holdfast.rss.batch import Batch
from holdfast.rss.config import RssConfig
from holdfast.rss.report_hash import BatchHasher, SteeringHasher
from holdfast.rss.terms import ALL_TUNNELS, HashType
from holdfast.rss.vectors import KEY

CONFIG = RssConfig(KEY, tunnel_types=ALL_TUNNELS)
OTHER = RssConfig(bytes(range(40)), HashType.IPv4 | HashType.TCPv6)


def frames(count: int) -> list[bytes]:
    pick = rssframes.Seeded(90)
    return [rssframes.frame(pick) for _ in range(count)]


def wanted(config: RssConfig, frame: bytes) -> tuple[int, int]:
    kind, data = reference.select(reference.dissect(frame, config.tunnel_types), config.types)
    return (reference.toeplitz(config.key, data), int(kind.report)) if kind else (0, 0)


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_many_and_few_give_what_the_reference_says(count: int) -> None:
    hasher, given = BatchHasher(CONFIG), frames(count)
    assert list(hasher.hash_batch(given)) == [wanted(CONFIG, frame) for frame in given]
    hasher.configure(OTHER)
    assert list(hasher.hash_batch(given)) == [wanted(OTHER, frame) for frame in given]


def test_many_are_for_numpy_and_few_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Watched(Batch):
        def classify(self, given: Sequence[bytes]) -> Any:
            asked.append(len(given))
            return super().classify(given)

    monkeypatch.setattr(batch, "Batch", Watched)
    hasher = BatchHasher(CONFIG)
    for count in (3, 200, 4):
        hasher.hash_batch(frames(count))
    assert asked == [200]


def test_without_numpy_all_are_hashed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)  # importing it raises ImportError
    given = frames(200)
    hasher = BatchHasher(CONFIG)
    assert list(hasher.hash_batch(given)) == list(SteeringHasher(CONFIG).hash_batch(given))
