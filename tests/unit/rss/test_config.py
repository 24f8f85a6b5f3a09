# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import pytest

from holdfast.errors import UsageError
from holdfast.rss import reference
from holdfast.rss.config import RssConfig, pack_active, pack_state
from holdfast.rss.fallback import Classified, Steering
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.parity import pack_masks
from holdfast.rss.terms import ALL_TYPES, HashReport, HashType
from holdfast.rss.vectors import KEY, VECTORS


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ({"key": bytes(39)}, "39 bytes"),
        ({"key": bytes(256)}, "256 bytes"),
        ({"key": KEY, "types": 1 << 9}, "0x200"),
        ({"key": KEY, "table": ()}, "0 entries"),
        ({"key": KEY, "table": (0, 1, 2)}, "3 entries"),
        ({"key": KEY, "table": (0,) * 1024}, "1024 entries"),
        ({"key": KEY, "table": (0, 65536)}, "entry 1 is 65536"),
        ({"key": KEY, "unclassified": -1}, "-1"),
    ],
)
def test_impossible_settings_are_named(how: dict[str, object], names: str) -> None:
    with pytest.raises(UsageError, match=names) as caught:
        RssConfig(**how)
    assert caught.value.hint


def test_layouts_of_the_three_maps() -> None:
    # The layouts of bundles/net/rss/rss.h are a contract: they may only change with the maps' names.
    config = RssConfig(KEY, HashType.TCPv4 | HashType.UDP_EX, (5, 6, 7, 8), unclassified=9)
    assert config.pack_settings() == struct.pack("=IHHII", 0x102, 3, 9, 0, 0)
    active = pack_active(1, [bytes(16), config.pack_settings()])
    assert active == struct.pack("=I", 1) + bytes(28 + 16) + config.pack_settings()
    key = config.pack_key()
    assert len(key) == 4648 and key[:40] == KEY
    row_2 = struct.unpack_from("=16I", key, 40 + 2 * 64)
    assert row_2[8] == int.from_bytes(KEY[1:5], "big")
    assert row_2[15] == reference.toeplitz(KEY, b"\x00\xf0")
    table = config.pack_table()
    assert len(table) == 1024 and struct.unpack_from("=5H", table) == (5, 6, 7, 8, 0)


def test_layout_of_version_2() -> None:
    # The layout of bundles/net/rss/state.h is a contract: this may only change with the map's name.
    config = RssConfig(KEY, HashType.TCPv4 | HashType.UDP_EX, (5, 6, 7, 8), unclassified=9)
    slot = config.pack_slot()
    assert len(slot) == 1472 and slot[:16] == config.pack_settings()
    assert slot[16:56] == KEY and slot[56:64] == bytes(8)
    assert slot[64:448] == pack_masks(KEY) and slot[448:] == config.pack_table()
    state = pack_state(1, [bytes(1472), slot])
    assert len(state) == 3008
    assert state == struct.pack("=I", 1) + bytes(60 + 1472) + slot


def test_a_key_may_be_longer_and_only_its_beginning_counts() -> None:
    assert RssConfig(KEY + b"more").pack_key() == RssConfig(KEY).pack_key()


def test_types_by_name() -> None:
    assert HashType.parse("tcpv4, UDP_EX") == HashType.TCPv4 | HashType.UDP_EX
    assert HashType.parse("all") == ALL_TYPES
    assert HashType.parse("none") == HashType.NONE
    with pytest.raises(UsageError, match="sctp"):
        HashType.parse("tcpv4,sctp")


def test_report_of_a_type() -> None:
    assert [kind.report for kind in HashType.__members__.values()] == list(HashReport)
    with pytest.raises(ValueError, match="more than one"):
        _ = ALL_TYPES.report


def test_fallback_without_settings_hashes_nothing() -> None:
    frame = VECTORS[0].frames()[0][0]
    assert Steering().classify(frame) == Classified(HashType.NONE, None, 0)


def test_fallback_setters() -> None:
    frame, kind, value = VECTORS[0].frames()[0]
    steering = Steering()
    steering.set_key(KEY)
    steering.set_types(HashType.TCPv4)
    steering.set_table([3, 4], unclassified=9)
    assert steering.classify(frame) == Classified(kind, value, 3 + value % 2)
    steering.set_types(HashType.UDPv4)
    assert steering.classify(frame) == Classified(HashType.NONE, None, 9)
    with pytest.raises(UsageError):
        steering.set_table([1, 2, 3])
    assert steering.config.table == (3, 4)


def test_a_hash_of_zero_is_a_hash() -> None:
    frame, kind, _ = VECTORS[0].frames()[0]
    steering = Steering(RssConfig(bytes(40), ALL_TYPES, (3,), unclassified=9))
    assert steering.classify(frame) == Classified(kind, 0, 3)


class Log:
    """Maps of some names that keep what was written, in order."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.writes: list[tuple[str, int, bytes]] = []

    def map(self, name: str) -> Log.One:
        if name not in self.names:
            raise UsageError(f"there is no map {name!r}")
        return Log.One(self, name)

    class One:
        def __init__(self, log: Log, name: str) -> None:
            self.log, self.name = log, name

        def update(self, key: int, value: bytes) -> None:
            self.log.writes.append((self.name, key, value))


def test_the_slot_in_use_is_never_changed() -> None:
    log = Log("rss_state")
    steering = KernelSteering(log.map, -1)
    configs = [RssConfig.spread(KEY, 4), RssConfig.spread(KEY[::-1], 2), RssConfig.spread(KEY, 3)]
    for config in configs:
        steering.configure(config)
    held = bytes(3008)
    changes = 0
    for name, key, value in log.writes:
        assert (name, key, len(value)) == ("rss_state", 0, 3008)
        before, after = (struct.unpack_from("=I", one)[0] for one in (held, value))
        start = 64 + 1472 * before
        assert held[start : start + 1472] == value[start : start + 1472]
        if before != after:
            # All of the new slot was written before.
            assert held[4:] == value[4:]
            start = 64 + 1472 * after
            assert value[start : start + 1472] == configs[changes].pack_slot()
            changes += 1
        held = value
    assert changes == len(configs)
    assert steering.config == configs[-1]


def test_the_slot_in_use_is_never_written_in_three_maps() -> None:
    log = Log("rss_config", "rss_key", "rss_table")
    steering = KernelSteering(log.map, -1)
    first, second = RssConfig.spread(KEY, 4), RssConfig.spread(KEY[::-1], 2)
    steering.configure(first)
    steering.configure(second)
    active = 0
    contents: dict[tuple[str, int], bytes] = {}
    for name, key, value in log.writes:
        if name == "rss_config":
            before, active = active, struct.unpack_from("=I", value)[0]
            settings = value[32 + 16 * active : 48 + 16 * active]
            if active != before:
                # All of the new slot was written before, its settings by an earlier write.
                assert contents["settings", active] == settings
                assert ("rss_key", active) in contents and ("rss_table", active) in contents
            else:
                assert contents.setdefault(("settings", active), settings) == settings
            contents["settings", 1 - active] = value[32 + 16 * (1 - active) : 48 + 16 * (1 - active)]
        else:
            assert key != active
            contents[name, key] = value
    assert contents["rss_key", active] == second.pack_key()
    assert contents["rss_table", active] == second.pack_table()
    assert contents["settings", active] == second.pack_settings()
    assert steering.config == second


def test_maps_of_no_bundle_are_told_by_the_name_that_is_missing() -> None:
    with pytest.raises(UsageError, match="no map 'rss_state'"):
        KernelSteering(Log("rss_config").map, -1)


def test_no_settings_yet() -> None:
    with pytest.raises(UsageError, match="no settings"):
        KernelSteering(Log("rss_state").map, -1).set_key(KEY)
