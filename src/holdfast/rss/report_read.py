# SPDX-License-Identifier: Apache-2.0
"""Read frames from a TAP's queues, each with the header that reports its hash. No privilege is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.errors import KernelAccessError, UsageError
from holdfast.rss.config import RssConfig
from holdfast.rss.report_ask import Headers, ask_headers
from holdfast.rss.report_hash import BatchHasher, FrameHasher
from holdfast.rss.report_wire import (
    HEADER_BYTES,
    PREFIX_BYTES,
    hash_header,
    reported_by_kernel,
    without_prefix,
)
from holdfast.rss.terms import HashReport

__all__ = ["FrameHasher", "Received", "ReportReader", "Rung"]

# Headers, prefix, and the largest frame: a packet of 65,535 bytes behind a MAC header with tags. What does
# not fit is lost without a word, so there is room to spare.
_ROOM: Final = 68 << 10


class Rung(StrEnum):
    """Who worked out the hash of a frame, best first."""

    KERNEL = "kernel"
    BPF = "bpf"
    USER = "user space"


@dataclass(frozen=True, slots=True)
class Received:
    """A frame as it came, its header (20 bytes, ``struct virtio_net_hdr_v1_hash``), the number of the
    descriptor that it was read from among those given, and who hashed it.
    """

    header: bytes
    frame: bytes
    queue: int
    rung: Rung

    @property
    def hash_value(self) -> int:
        """Returns the hash (32 bits); 0 says nothing where the report is NONE, and is a hash elsewhere."""
        return reported_by_kernel(self.header)[0]

    @property
    def hash_report(self) -> HashReport:
        """Returns what was hashed, VIRTIO_NET_HASH_REPORT_*."""
        return HashReport(reported_by_kernel(self.header)[1])


class ReportReader:
    """The reading end: takes prefixes off, puts headers right, and hashes what arrived without a hash.

    The descriptors are non-blocking, stay the caller's, and are read by nobody else. One thread at a time, or
    a reader for each thread with the queues of its own.
    """

    def __init__(
        self,
        fds: Sequence[int],
        config: RssConfig,
        *,
        cookie: int | None = None,
        by_kernel: bool = False,
        hasher: FrameHasher | None = None,
    ) -> None:
        """``cookie`` is that of the program before the TAP, None where there is none; ``by_kernel`` says that
        the kernel fills in headers of 20 bytes itself.

        Raises :class:`~holdfast.errors.UsageError` for descriptors that are no TAP's, or that block.
        """
        if not fds:
            raise UsageError("no queue to read", hint="give the TAP's descriptors")
        self._fds = tuple(fds)
        for fd in self._fds:
            if os.get_blocking(fd):
                raise UsageError(f"descriptor {fd} blocks", hint="open it with O_NONBLOCK")
        self._headers = tuple(ask_headers(fd) for fd in self._fds)
        if by_kernel and any(one.size != HEADER_BYTES for one in self._headers):
            raise UsageError("a kernel that reports needs headers of 20 bytes", hint="TUNSETVNETHDRSZ")
        self._cookie = cookie
        self._by_kernel = by_kernel
        self._hasher = hasher or BatchHasher(config)
        if hasher is not None:
            hasher.configure(config)
        self._counts = dict.fromkeys(Rung, 0)
        self._room = bytearray(_ROOM)

    @property
    def counts(self) -> Mapping[Rung, int]:
        """Returns how many frames were read so far, by who hashed them."""
        return dict(self._counts)

    def configure(self, config: RssConfig) -> None:
        """Takes new settings for what is hashed here; frames with a prefix keep the hash that they carry."""
        self._hasher.configure(config)

    def read(self, queue: int) -> Received | None:
        """Returns the next frame of a queue, None where none waits. Raises as :meth:`read_batch`."""
        batch = self.read_batch(queue, 1)
        return batch[0] if batch else None

    def read_batch(self, queue: int, most: int = 256) -> list[Received]:
        """Returns what waits in a queue, in order, at most ``most`` frames.

        Raises :class:`~holdfast.errors.KernelAccessError` when the TAP cannot be read: it is down, or gone.
        """
        fd, headers = self._fds[queue], self._headers[queue]
        got: list[Received | None] = []
        late: list[tuple[int, bytes, bytes]] = []
        room, view = (self._room,), memoryview(self._room)
        try:
            while len(got) < most:
                data = bytes(view[: os.readv(fd, room)])
                if not data:
                    break
                found = self._judge(data, headers, queue)
                if found is None:
                    late.append((len(got), data[: headers.size], data[headers.size :]))
                got.append(found)
        except BlockingIOError:
            pass
        except OSError as error:
            if not got:
                raise KernelAccessError(f"queue {queue} of the TAP: {error.strerror}") from None
            # What was read is not lost; the next call meets the error again.
        if late:
            self._hash(late, got, headers, queue)
        batch = [one for one in got if one is not None]
        self._counts[Rung.USER] += len(late)
        self._counts[Rung.KERNEL if self._by_kernel else Rung.BPF] += len(batch) - len(late)
        return batch

    def _judge(self, data: bytes, headers: Headers, queue: int) -> Received | None:
        size = headers.size
        if self._by_kernel:
            value, report = reported_by_kernel(data)
            header = hash_header(data[:size], value, report, little=headers.little)
            return Received(header, data[size:], queue, Rung.KERNEL)
        carried = None if self._cookie is None else without_prefix(data[size:], self._cookie)
        if carried is None:
            return None
        value, report, frame = carried
        header = hash_header(data[:size], value, report, shift=PREFIX_BYTES, little=headers.little)
        return Received(header, frame, queue, Rung.BPF)

    def _hash(
        self,
        late: Sequence[tuple[int, bytes, bytes]],
        got: list[Received | None],
        headers: Headers,
        queue: int,
    ) -> None:
        hashes = self._hasher.hash_batch([frame for _, _, frame in late])
        for (at, header, frame), (value, report) in zip(late, hashes, strict=True):
            whole = hash_header(header, value, report, little=headers.little)
            got[at] = Received(whole, frame, queue, Rung.USER)
