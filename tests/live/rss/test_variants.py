# SPDX-License-Identifier: Apache-2.0
"""Every variant of both bundles, built for every instruction set level, through BPF_PROG_TEST_RUN."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import rssframes
from tests.live.rss.conftest import Objects, load_build
from tests.unit.rss.test_rules import CASES as RULES_OF_TYPES
from tests.unit.rss.test_tunnel_rules import CASES as RULES_OF_TUNNELS

from holdfast import load
from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.terms import ALL_TYPES, HashType, TunnelType
from holdfast.rss.vectors import KEY, VECTORS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

IDENTITY = tuple(range(512))
UNCLASSIFIED = 0xFFFF
RULES = {
    **{name: (frame, types, TunnelType.NONE) for name, (frame, types, _) in RULES_OF_TYPES.items()},
    **{name: (frame, ALL_TYPES, tunnels) for name, (frame, tunnels, _) in RULES_OF_TUNNELS.items()},
}


def expected(frame: bytes, config: RssConfig) -> int:
    kind, data = reference.select(reference.dissect(frame, config.tunnel_types), config.types)
    if not kind:
        return config.unclassified
    return config.table[reference.toeplitz(config.key, data) % len(config.table)]


def runs(frame: bytes) -> bool:
    """Whether BPF_PROG_TEST_RUN takes the frame: recent kernels want a whole IP header where the ethertype
    promises one. A TAP takes it; test_tap.py sends the others.
    """
    least = {b"\x08\x00": 20, b"\x86\xdd": 40}.get(frame[12:14], 1)
    return len(frame) >= 14 + least


def frames_of(pick: rssframes.Pick) -> Iterator[bytes]:
    while True:
        yield rssframes.frame(pick)


@cache
def many(inner: bool) -> list[tuple[RssConfig, list[tuple[bytes, int]]]]:
    """5000 frames or more under 50 settings, each with the queue that the reference gives it."""
    pick = rssframes.Seeded(1906 + inner)
    rounds = []
    for _ in range(50):
        config = rssframes.config(pick, inner=inner)
        frames = list(islice(filter(runs, frames_of(pick)), rssframes.COUNT // 50))
        rounds.append((config, [(frame, expected(frame, config)) for frame in frames]))
    return rounds


def queue(steer: load.Object, frame: bytes) -> int:
    return steer.program("steer").test_run(frame, data_out_size=0).return_value


@pytest.mark.parametrize("variant", ["rss/dynptr/v2", "rss/helpers/v2", "rss-tunnel/helpers/v2"])
def test_fresh_maps_send_everything_to_queue_0(variant: str, objects: Objects) -> None:
    with load_build(variant, objects) as fresh:
        assert {queue(fresh, frame) for vector in VECTORS for frame, _, _ in vector.frames()} == {0}


def test_published_vectors_in_all_32_bits(steer: load.Object, steering: KernelSteering) -> None:
    # A table shows 9 bits of a hash. With the key moved right by n bits the hash's own bits move right by n
    # as well (its upper bits change), so four keys show all of it.
    whole = int.from_bytes(KEY, "big")
    for shift in (0, 9, 18, 23):
        steering.configure(RssConfig((whole >> shift).to_bytes(40, "big"), ALL_TYPES, IDENTITY, UNCLASSIFIED))
        for vector in VECTORS:
            for frame, kind, value in vector.frames():
                assert queue(steer, frame) == value >> shift & 511, (vector, kind, shift)


def test_rules(steer: load.Object, steering: KernelSteering) -> None:
    # Tunnels must not change what is no tunnel, and net/rss knows none whatever comes.
    assert sum(not runs(frame) for frame, _, _ in RULES.values()) < 4
    for name, (frame, types, tunnels) in RULES.items():
        if not runs(frame):
            continue
        enabled = tunnels & steering.supported_tunnel_types
        config = RssConfig(KEY, types, IDENTITY, UNCLASSIFIED, enabled)
        steering.configure(config)
        assert queue(steer, frame) == expected(frame, config), name


def test_many_frames_equal_the_reference(steer: load.Object, steering: KernelSteering) -> None:
    wrong = []
    for config, frames in many(bool(steering.supported_tunnel_types)):
        steering.configure(config)
        run = steer.program("steer").test_run
        wrong += [
            (frame.hex(), wanted, config)
            for frame, wanted in frames
            if run(frame, data_out_size=0).return_value != wanted
        ]
    assert not wrong, f"{len(wrong)} of {rssframes.COUNT}, the first: {wrong[0]}"


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[*HealthCheck],
)
@given(st.data())
def test_small_examples_equal_the_reference(
    steer: load.Object, steering: KernelSteering, data: st.DataObject
) -> None:
    config = data.draw(rssframes.configs(inner=bool(steering.supported_tunnel_types)))
    steering.configure(config)
    for frame in data.draw(st.lists(rssframes.frames().filter(runs), min_size=1, max_size=4)):
        assert queue(steer, frame) == expected(frame, config)


def test_a_hash_of_zero_is_not_unclassified(steer: load.Object, steering: KernelSteering) -> None:
    steering.configure(RssConfig(bytes(40), ALL_TYPES, (3,), unclassified=9))
    frame = VECTORS[0].frames()[0][0]
    assert queue(steer, frame) == 3
    steering.set_types(HashType.IPv6)
    assert queue(steer, frame) == 9


def test_tables_of_every_length(steer: load.Object, steering: KernelSteering) -> None:
    # By mask and by modulo, as QEMU does it: the same for a power of two. One entry says what the length is.
    vectors = [(frame, value) for vector in VECTORS for frame, _, value in vector.frames()]
    for length in (2**power for power in range(10)):
        steering.configure(RssConfig(KEY, ALL_TYPES, tuple(range(1000, 1000 + length))))
        got = [queue(steer, frame) for frame, _ in vectors]
        assert (
            got
            == [1000 + value % length for _, value in vectors]
            == [1000 + (value & (length - 1)) for _, value in vectors]
        ), length


def test_only_40_bytes_of_a_longer_key_count(steer: load.Object, steering: KernelSteering) -> None:
    for more in (b"", b"\xff", bytes(range(215))):
        steering.configure(RssConfig(KEY + more, ALL_TYPES, IDENTITY))
        for vector in VECTORS:
            for frame, _, value in vector.frames():
                assert queue(steer, frame) == value & 511, (vector, len(more))


def test_each_change_is_in_force_at_once(steer: load.Object, steering: KernelSteering) -> None:
    frame, _, value = VECTORS[0].frames()[0]
    for base in range(5):
        steering.configure(RssConfig(KEY, ALL_TYPES, tuple(base * 512 + index for index in IDENTITY)))
        assert queue(steer, frame) == base * 512 + (value & 511)


def test_the_map_is_the_interface_of_version_2(steer: load.Object, steering: KernelSteering) -> None:
    shapes = {name: (one.key_size, one.value_size, one.max_entries) for name, one in steer.maps.items()}
    assert shapes == {"rss_state": (4, 3008, 1)}
    assert all(one.flags & 1 << 10 for one in steer.maps.values())  # BPF_F_MMAPABLE
