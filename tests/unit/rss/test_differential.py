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
from holdfast.rss.terms import HashType, TunnelType


def expected(frame: bytes, config: RssConfig) -> Classified:
    kind, data = reference.select(reference.dissect(frame, config.tunnel_types), config.types)
    if not kind:
        return Classified(HashType.NONE, None, config.unclassified)
    value = reference.toeplitz(config.key, data)
    return Classified(kind, value, config.table[value % len(config.table)])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(rssframes.frames(), rssframes.hash_types(), rssframes.tunnel_types())
def test_classification_equals_the_reference(frame: bytes, types: HashType, tunnels: TunnelType) -> None:
    expected = reference.select(reference.dissect(frame, tunnels), types)
    assert hash_input(frame, types, tunnels) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(rssframes.frames(), rssframes.configs(inner=True))
def test_hash_and_queue_equal_the_reference(frame: bytes, config: RssConfig) -> None:
    assert Steering(config).classify(frame) == expected(frame, config)


def test_many_frames() -> None:
    count = rssframes.COUNT
    pick = rssframes.Seeded(20211)
    seen: Counter[HashType] = Counter()
    inner: Counter[TunnelType] = Counter()
    for _ in range(count):
        frame, types, tunnels = rssframes.frame(pick), rssframes.types(pick), rssframes.tunnels(pick)
        got = hash_input(frame, types, tunnels)
        wanted = reference.select(reference.dissect(frame, tunnels), types)
        assert got == wanted, (frame.hex(), types, tunnels)
        seen[got[0]] += 1
        for kind in TunnelType:
            if got[0] and kind & tunnels and hash_input(frame, types, kind) != hash_input(frame, types):
                inner[kind] += 1
    # The grammar would prove little if it seldom made some type, or seldom something inside a tunnel.
    assert all(seen[kind] > count / 200 for kind in HashType.__members__.values()), seen
    assert all(inner[kind] > count / 1000 for kind in TunnelType), inner


def test_many_settings() -> None:
    pick = rssframes.Seeded(7)
    for _ in range(40):
        config = rssframes.config(pick, inner=True)
        steering = Steering(config)
        for _ in range(25):
            frame = rssframes.frame(pick)
            assert steering.classify(frame) == expected(frame, config), (frame.hex(), config)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), rssframes.hash_types(), rssframes.tunnel_types())
def test_any_bytes_are_a_frame(frame: bytes, types: HashType, tunnels: TunnelType) -> None:
    expected = reference.select(reference.dissect(frame, tunnels), types)
    assert hash_input(frame, types, tunnels) == expected
