# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import rssframes

from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Classified, Steering
from holdfast.rss.parse import hash_input
from holdfast.rss.terms import HashType


def expected(frame: bytes, config: RssConfig) -> Classified:
    kind, data = reference.select(reference.dissect(frame), config.types)
    if not kind:
        return Classified(HashType.NONE, None, config.unclassified)
    value = reference.toeplitz(config.key, data)
    return Classified(kind, value, config.table[value % len(config.table)])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(rssframes.frames(), rssframes.hash_types())
def test_classification_equals_the_reference(frame: bytes, types: HashType) -> None:
    assert hash_input(frame, types) == reference.select(reference.dissect(frame), types)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(rssframes.frames(), rssframes.configs())
def test_hash_and_queue_equal_the_reference(frame: bytes, config: RssConfig) -> None:
    assert Steering(config).classify(frame) == expected(frame, config)


def test_many_frames() -> None:
    pick = rssframes.Seeded(20211)
    seen: Counter[HashType] = Counter()
    for _ in range(20000):
        frame, types = rssframes.frame(pick), rssframes.types(pick)
        got = hash_input(frame, types)
        assert got == reference.select(reference.dissect(frame), types), (frame.hex(), types)
        seen[got[0]] += 1
    # The grammar would prove little if it seldom made some type.
    assert all(seen[kind] > 200 for kind in HashType.__members__.values()), seen


def test_many_settings() -> None:
    pick = rssframes.Seeded(7)
    for _ in range(40):
        config = rssframes.config(pick)
        steering = Steering(config)
        for _ in range(25):
            frame = rssframes.frame(pick)
            assert steering.classify(frame) == expected(frame, config), (frame.hex(), config)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), rssframes.hash_types())
def test_any_bytes_are_a_frame(frame: bytes, types: HashType) -> None:
    assert hash_input(frame, types) == reference.select(reference.dissect(frame), types)
