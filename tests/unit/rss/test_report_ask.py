# SPDX-License-Identifier: Apache-2.0
"""Whether a kernel reports hashes by itself: what is believed, and what is left as it was."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass, field

import pytest

from holdfast.errors import UsageError
from holdfast.rss.config import RssConfig
from holdfast.rss.report_ask import ask_headers, enable, hash_types
from holdfast.rss.report_read import ReportReader
from holdfast.rss.terms import HashType
from holdfast.rss.vectors import KEY

TYPES, GET_SIZE, SET_SIZE, SET_RSS = 0x800454E4, 0x800454D7, 0x400454D8, 0x400854E6


@dataclass
class Kernel:
    """One that answers what it is told to."""

    types: int | None = None
    refuses: bool = False
    size: int = 12
    settings: bytes = b""
    asked: list[int] = field(default_factory=list)

    def ioctl(self, fd: int, request: int, block: bytearray) -> int:
        self.asked.append(request)
        if request == TYPES and self.types is not None:
            block[:] = struct.pack("=I", self.types)
        elif request == GET_SIZE:
            block[:] = struct.pack("=i", self.size)
        elif request == SET_SIZE:
            (self.size,) = struct.unpack("=i", block)
        elif request == SET_RSS and not self.refuses:
            self.settings = bytes(block)
        else:
            raise OSError(errno.EINVAL, "Invalid argument")
        return 0


def test_a_kernel_that_does_not_know_the_question() -> None:
    kernel = Kernel()
    assert hash_types(3, ioctl=kernel.ioctl) is None
    assert kernel.asked == [TYPES]


@pytest.mark.parametrize("answer", [0, 0x200, 0xFFFFFFFF, 0x80000001])
def test_an_answer_to_another_question_is_not_believed(answer: int) -> None:
    assert hash_types(3, ioctl=Kernel(types=answer).ioctl) is None


def test_a_kernel_that_reports() -> None:
    kernel = Kernel(types=0x3F)
    assert hash_types(3, ioctl=kernel.ioctl) == HashType(0x3F)
    enable(3, RssConfig(KEY, HashType.TCPv4, (0, 1, 2, 1), unclassified=3), ioctl=kernel.ioctl)
    assert kernel.size == 20
    assert kernel.settings == struct.pack("=IHH4H", 2, 3, 3, 0, 1, 2, 1) + KEY


def test_a_kernel_that_refuses_keeps_its_headers() -> None:
    kernel = Kernel(types=0x3F, refuses=True, size=10)
    with pytest.raises(OSError, match="Invalid"):
        enable(3, RssConfig(KEY), ioctl=kernel.ioctl)
    assert kernel.size == 10


def test_what_is_no_tap_is_refused() -> None:
    end, other = os.pipe2(os.O_NONBLOCK)
    try:
        with pytest.raises(UsageError, match="no queue of a TAP"):
            ask_headers(end)
        with pytest.raises(UsageError, match="no queue of a TAP"):
            ReportReader([end], RssConfig(KEY))
        os.set_blocking(end, True)
        with pytest.raises(UsageError, match="blocks"):
            ReportReader([end], RssConfig(KEY))
    finally:
        os.close(end)
        os.close(other)
    with pytest.raises(UsageError, match="no queue to read"):
        ReportReader([], RssConfig(KEY))
