# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import pytest

from holdfast.errors import UsageError
from holdfast.rss import reference
from holdfast.rss.config import RssConfig, pack_active
from holdfast.rss.fallback import Classified, Steering
from holdfast.rss.kernel import KernelSteering
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


def test_layouts_of_version_1() -> None:
    # The layouts of bundles/net/rss/rss.h are a contract: this may only change with the bundle's version.
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
    """Maps that keep what was written, in order."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, int, bytes]] = []

    def map(self, name: str) -> Log.One:
        return Log.One(self, name)

    class One:
        def __init__(self, log: Log, name: str) -> None:
            self.log, self.name = log, name

        def update(self, key: int, value: bytes) -> None:
            self.log.writes.append((self.name, key, value))


def test_the_slot_in_use_is_never_written() -> None:
    log = Log()
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


def test_no_settings_yet() -> None:
    with pytest.raises(UsageError, match="no settings"):
        KernelSteering(Log().map, -1).set_key(KEY)
