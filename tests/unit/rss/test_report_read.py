# SPDX-License-Identifier: Apache-2.0
"""The reader of hash reporting, on a socket in the place of a TAP's queue."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

import pytest

from holdfast.errors import KernelAccessError, UsageError
from holdfast.rss import report, report_read
from holdfast.rss.config import RssConfig
from holdfast.rss.report import Reporting, ReportReader, Rung
from holdfast.rss.report_ask import Headers
from holdfast.rss.terms import ALL_TYPES, HashReport, HashType
from holdfast.rss.vectors import KEY, VECTORS

COOKIE = 0x600DC0DE
CONFIG = RssConfig(KEY)
FRAMES = [frame for vector in VECTORS for frame, _, _ in vector.frames()]
HASHES = [(value, kind.report) for vector in VECTORS for _, kind, value in vector.frames()]


class Queue:
    """Both ends, and what headers the TAP is said to give."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tap, self.host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.tap.setblocking(False)
        self.headers = Headers(0, True)
        monkeypatch.setattr(report_read, "ask_headers", lambda fd: self.headers)

    def close(self) -> None:
        self.tap.close()
        self.host.close()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    opened = Queue(monkeypatch)
    yield opened
    opened.close()


def prefixed(frame: bytes, value: int, kind: HashReport) -> bytes:
    return struct.pack("<IBBHI", value, kind, 0, len(frame), COOKIE) + frame


class Hasher:
    """Says of each frame how long it is; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.config: RssConfig | None = None

    def configure(self, config: RssConfig) -> None:
        self.config = config

    def hash_batch(self, frames: Sequence[bytes]) -> Sequence[tuple[int, int]]:
        self.asked.append(len(frames))
        return [(len(frame), 1) for frame in frames]


def test_rungs_mix_and_the_order_stays(queue: Queue) -> None:
    reader = ReportReader([queue.tap.fileno()], CONFIG, cookie=COOKIE)
    for number, (frame, (value, kind)) in enumerate(zip(FRAMES, HASHES, strict=True)):
        queue.host.send(prefixed(frame, value, kind) if number % 3 else frame)
    got = reader.read_batch(0)
    assert [one.frame for one in got] == FRAMES
    assert [(one.hash_value, one.hash_report) for one in got] == HASHES
    assert [one.rung for one in got] == [Rung.BPF if at % 3 else Rung.USER for at in range(len(got))]
    assert reader.counts == {Rung.KERNEL: 0, Rung.BPF: 16, Rung.USER: 8}


def test_a_batch_is_hashed_at_once(queue: Queue) -> None:
    hasher = Hasher()
    reader = ReportReader([queue.tap.fileno()], CONFIG, cookie=COOKIE, hasher=hasher)
    assert hasher.config is CONFIG
    for frame in FRAMES[:5]:
        queue.host.send(frame)
    queue.host.send(prefixed(FRAMES[0], *HASHES[0]))
    assert [one.hash_value for one in reader.read_batch(0, 3)] == [len(one) for one in FRAMES[:3]]
    assert len(reader.read_batch(0)) == 3
    assert reader.read(0) is None and reader.read_batch(0) == []
    assert hasher.asked == [3, 2]


def test_what_a_kernel_reports_is_handed_on(queue: Queue) -> None:
    queue.headers = Headers(20, True)
    reader = ReportReader([queue.tap.fileno()], CONFIG, by_kernel=True)
    header = struct.pack("<BBHHHHHIHH", 1, 1, 54, 1448, 34, 16, 1, 0xFEDCBA98, 6, 0)
    queue.host.send(header + FRAMES[0])
    got = reader.read(0)
    assert got is not None
    assert (got.header, got.frame, got.rung) == (header, FRAMES[0], Rung.KERNEL)
    assert (got.hash_value, got.hash_report) == (0xFEDCBA98, HashReport.UDPv6)
    assert reader.counts[Rung.KERNEL] == 1


def test_a_kernel_cannot_report_in_shorter_headers(queue: Queue) -> None:
    queue.headers = Headers(12, True)
    with pytest.raises(UsageError, match="20 bytes"):
        ReportReader([queue.tap.fileno()], CONFIG, by_kernel=True)


def test_a_kernel_that_says_so_is_asked_to(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    enabled: list[RssConfig] = []

    def enable(fd: int, config: RssConfig) -> None:
        enabled.append(config)
        queue.headers = Headers(20, True)

    monkeypatch.setattr(report, "hash_types", lambda fd: ALL_TYPES)
    monkeypatch.setattr(report, "enable", enable)
    with Reporting([queue.tap.fileno()], CONFIG) as reporting:
        assert (reporting.rung, reporting.why, reporting.cookie) == (Rung.KERNEL, (), None)
        other = RssConfig(bytes(40))
        reporting.configure(other)
        assert enabled == [CONFIG, other]

        def refuse(fd: int, config: RssConfig) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

        monkeypatch.setattr(report, "enable", refuse)
        with pytest.raises(KernelAccessError, match="refuses these settings: Invalid argument"):
            reporting.configure(CONFIG)


def test_a_kernel_that_reports_less_is_not_taken(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "hash_types", lambda fd: HashType(0x3F))
    with Reporting([queue.tap.fileno()], CONFIG) as reporting:
        assert reporting.rung is Rung.USER
        assert reporting.why[0].startswith("kernel: it reports other hash types: ")
        assert reporting.why[1] == "bpf: no bundle was given"


def test_an_error_loses_nothing(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ReportReader([queue.tap.fileno()], CONFIG)
    queue.host.send(FRAMES[0])
    read, left = os.readv, [1]

    def readv(fd: int, room: Sequence[bytearray]) -> int:
        if not left:
            raise OSError(errno.EBADFD, "File descriptor in bad state")
        left.pop()
        return read(fd, room)

    monkeypatch.setattr(os, "readv", readv)
    assert [one.frame for one in reader.read_batch(0)] == [FRAMES[0]]
    with pytest.raises(KernelAccessError, match="queue 0 of the TAP: File descriptor in bad state"):
        reader.read_batch(0)
