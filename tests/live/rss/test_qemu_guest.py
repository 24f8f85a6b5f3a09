# SPDX-License-Identifier: Apache-2.0
"""A real QEMU with no privilege and a real guest: each frame in the queue that the guest's settings say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import bootkernels
from tests.live.rss.qemuguests import NOBODY, arrivals, call, guest, pid_of

from holdfast import sys as kernel
from holdfast.rss import frames as f
from holdfast.rss import reference
from holdfast.rss.qemu_maps import pack_key
from holdfast.rss.terms import HashType
from holdfast.rss.traffic import random_frames
from holdfast.rss.vectors import KEY
from holdfast.vm import BootKernel, Guest

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.usefixtures("live")]

# What the driver of Linux asks for: it knows no type with extension headers.
TYPES = HashType.IPv4 | HashType.TCPv4 | HashType.UDPv4 | HashType.IPv6 | HashType.TCPv6 | HashType.UDPv6
QUEUES = 4


@pytest.fixture(scope="module")
def newest() -> BootKernel:
    # RSS in the guest's driver came with Linux 5.18.
    return bootkernels.kernels()[-1]


def queue_of(frame: bytes, key: bytes, table: list[int]) -> int:
    kind, data = reference.select(reference.dissect(frame), TYPES)
    return table[reference.toeplitz(key, data) % len(table)] if kind else 0


def wrong(booted: Guest, flows: list[bytes], now: dict[str, object]) -> list[tuple[str, int, int]]:
    """Frames that arrived elsewhere than the guest's settings say: frame, queue, expected queue."""
    mac, key, table = now["mac"], now["key"], now["table"]
    assert isinstance(mac, bytes) and isinstance(key, bytes) and isinstance(table, list)
    assert len(key) == 40 and len(table) == 128
    addressed = [mac + one[6:] for one in flows]
    got = arrivals(booted, addressed, QUEUES)
    found = []
    for number, frame in enumerate(addressed):
        expected = queue_of(frame, key, table)
        if got[number] != expected:
            found.append((frame.hex(), got[number], expected))
    assert set(table) <= set(got.values()), "not all queues were used"
    return found


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def map_of_the_program(pid: int, name: str) -> list[bytes]:
    """The first value of a map of the steering program that the process holds; of each CPU if it has that."""
    ids = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        rows = dict(line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
        if "prog_id" in rows:
            ids.add(int(rows["prog_id"]))
    (number,) = ids
    with kernel.fd_by_id("prog", number) as program:
        for one in kernel.prog_map_ids(program.fileno()):
            with kernel.fd_by_id("map", one) as opened:
                info = kernel.map_info(opened.fileno())
                if info.name == name:
                    window = kernel.value_window(info.type, info.value_size)
                    whole = kernel.map_lookup(opened.fileno(), bytes(info.key_size), window)
                    assert whole is not None
                    stride = kernel.value_stride(info.value_size)
                    return [whole[at : at + info.value_size] for at in range(0, len(whole), stride)]
    raise AssertionError(f"the program has no map {name}")


def keys_of_the_program(pid: int) -> set[bytes]:
    """The keys of the tables that the program has made."""
    return {one[:40] for one in map_of_the_program(pid, "qemu_rows")}


@pytest.fixture(scope="module")
def steered(newest: BootKernel, live: None) -> Iterator[Guest]:
    with guest(newest) as booted:
        yield booted


def test_it_has_no_privilege_and_the_program(steered: Guest) -> None:
    status = status_of(pid_of(steered))
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    maps = Path(f"/proc/{pid_of(steered)}/maps").read_text()
    assert maps.count("anon_inode:bpf-map") == 3


def test_frames_arrive_where_the_guest_wants_them_before_and_after_a_change(steered: Guest) -> None:
    before = call(steered, "settings")
    assert isinstance(before, dict)
    assert before["features"][60] == "1" and before["features"][57] == "0"  # VIRTIO_NET_F_RSS, _HASH_REPORT
    assert before["queues"] == QUEUES
    if map_of_the_program(pid_of(steered), "qemu_config") == [bytes(10)]:
        # Linux 6.1 says what it has only when it is asked to change it; until then the device has no RSS.
        before = call(steered, "change", key=before["key"], table=before["table"])
        assert isinstance(before, dict)
    flows = list(random_frames(1000, 11))
    assert wrong(steered, flows, before) == []
    assert pack_key(before["key"]) in keys_of_the_program(pid_of(steered))

    chance = random.Random(7)
    table = [chance.choice((3, 1, 2)) for _ in range(128)]
    after = call(steered, "change", key=KEY, table=table)
    assert isinstance(after, dict)
    assert (after["key"], after["table"]) == (KEY, table)
    assert wrong(steered, list(random_frames(1000, 12)), after) == []
    assert pack_key(KEY) in keys_of_the_program(pid_of(steered))


def test_qemu_alone_puts_plain_flows_into_the_same_queues(newest: BootKernel, live: None) -> None:
    chance = random.Random(5)
    flows = []
    for number in range(400):
        segment = chance.choice((f.tcp, f.udp))(
            chance.randrange(1, 65536), chance.randrange(1, 65536), number.to_bytes(4, "big")
        )
        protocol = f.TCP if len(segment) == 24 else f.UDP
        if number % 2:
            packet = f.ipv4("10.0.0.1", f"10.1.{number // 256}.{number % 256}", protocol, segment)
        else:
            packet = f.ipv6("2001:db8::1", f"2001:db8::{number:x}", protocol, segment)
        flows.append(f.ethernet(packet))
    with guest(newest, "--software") as booted:
        assert "ebpf-rss-fds" not in Path(f"/proc/{pid_of(booted)}/cmdline").read_text()
        before = call(booted, "settings")
        assert isinstance(before, dict) and before["queues"] == QUEUES
        assert wrong(booted, flows, before) == []
        after = call(booted, "change", key=KEY, table=[3, 1] * 64)
        assert isinstance(after, dict)
        assert wrong(booted, flows, after) == []
