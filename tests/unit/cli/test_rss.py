# SPDX-License-Identifier: Apache-2.0
"""`holdfast rss hash` on files, and what the options of `attach` and `show` say."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli.rss import command
from holdfast.cli.rss_attach import read_key, read_queues, table_of
from holdfast.cli.rss_show import describe
from holdfast.errors import HoldfastError, UsageError
from holdfast.rss.show import Distribution
from holdfast.rss.vectors import KEY, VECTORS

FRAMES = [each for vector in VECTORS for each in vector.frames()]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """The published vectors, and one more frame of which the ports were cut off."""
    path = tmp_path / "vectors.pcap"
    content = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    for data, _, _ in FRAMES:
        content += struct.pack("<IIII", 0, 0, len(data), len(data)) + data
    data = FRAMES[0][0]
    path.write_bytes(content + struct.pack("<IIII", 0, 0, 34, len(data)) + data[:34])
    return path


def test_hash_tells_each_frame(capture: Path) -> None:
    ran = CliRunner().invoke(command, ["hash", str(capture), "--format", "json"], catch_exceptions=False)
    document = json.loads(ran.stdout)
    got = [(one["type"], one["hash"], one["queue"]) for one in document["frames"]]
    assert got[:-1] == [(kind.name, value, value & 3) for _, kind, value in FRAMES]
    # Without its ports it is hashed by its addresses, and that it is cut is told.
    assert got[-1][:2] == ("IPv4", VECTORS[0].addresses_hash)
    assert [one["truncated"] for one in document["frames"]] == [False] * len(FRAMES) + [True]


def test_hash_for_people(capture: Path) -> None:
    options = ["--types", "TCPv4", "--queues", "5,9", "--unclassified", "7"]
    ran = CliRunner().invoke(command, ["hash", str(capture), *options], catch_exceptions=False)
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert lines[1] == ["1", "54", "TCPv4", f"0x{VECTORS[0].ports_hash:08x}", "5"]
    assert lines[2] == ["2", "42", "NONE", "-", "7"]
    assert lines[-1][-3:] == ["34", "bytes", "captured"]
    assert all(len(line) <= 100 for line in ran.stdout.splitlines())


def test_keys(tmp_path: Path) -> None:
    assert read_key(KEY.hex()) == KEY
    assert read_key(KEY.hex(":").upper()) == KEY
    (tmp_path / "hex").write_text(f"{KEY.hex(' ', 4)}\n")
    assert read_key(str(tmp_path / "hex")) == KEY
    (tmp_path / "bytes").write_bytes(KEY)
    assert read_key(str(tmp_path / "bytes")) == KEY
    assert len(read_key("random")) == 40
    assert read_key("random") != read_key("random")
    for wrong in ("", "abc", "no such file", "6d5"):
        with pytest.raises(UsageError, match="--key"):
            read_key(wrong)


def test_queues() -> None:
    assert read_queues("4") == [0, 1, 2, 3]
    assert read_queues("7,0") == [7, 0]
    assert table_of("3", None) == [index % 3 for index in range(128)]
    assert table_of("4", "1,0") == [1, 0]
    assert len(table_of("200", None)) == 256
    for wrong in ("0", "513", "", "a", "-1", "1,b", "²"):
        with pytest.raises(UsageError, match="--queues"):
            read_queues(wrong)


def test_a_distribution_as_bars() -> None:
    first = Distribution("tap0", "steering", (10, 0, 30), "mq")
    lines = describe(first)
    assert "its own hook" in lines[0] and "mq" in lines[0]
    assert [line.split()[:4] for line in lines[2:5]] == [
        ["queue", "0", "10", "25%"],
        ["queue", "1", "0", "0%"],
        ["queue", "2", "30", "75%"],
    ]
    # Per second; a queue that came meanwhile counts from 0, one that began anew never below.
    rates = describe(Distribution("tap0", None, (0, 20, 30, 8), "mq"), first, 2.0)
    assert [line.split()[2] for line in rates[2:6]] == ["0/s", "10/s", "0/s", "4/s"]


def test_a_device_that_nothing_counts_says_why() -> None:
    lines = describe(Distribution("tap0", None, (), None, "tap0 has no qdisc"))
    assert lines[-1].strip() == "tap0 has no qdisc"


def test_nothing_is_printed_of_what_is_no_capture(tmp_path: Path) -> None:
    path = tmp_path / "no.pcap"
    path.write_bytes(b"not a capture at all")
    ran = CliRunner().invoke(command, ["hash", str(path)])
    assert isinstance(ran.exception, HoldfastError) and "is no pcap or pcapng file" in str(ran.exception)
    assert ran.stdout == ""
