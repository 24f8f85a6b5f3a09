# SPDX-License-Identifier: Apache-2.0
"""Jobs one after the other, each in a process of its own: one that crashes or hangs harms no other."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Any

from holdfast.vm.frames import Decoder, FrameError, Kind, encode
from holdfast.vm.guest.child import run_call
from holdfast.vm.values import pack, unpack

__all__ = ["serve"]

_SAID = 16 << 10  # bytes kept of what a job writes to stdout and stderr
_GRACE = 10.0  # seconds that a killed process may take to be gone before the kernel counts as stuck
_CHUNK = 1 << 16


def serve(port: int) -> None:
    """Serve the jobs that come over ``port`` until the host leaves it. Raises :class:`FrameError`."""
    frames = _frames(port)
    for kind, payload in frames:
        if kind is not Kind.JOB:
            raise FrameError(f"the host sent {kind.name}")
        _one(port, unpack(payload))


def _frames(port: int) -> Iterator[tuple[Kind, bytes]]:
    decoder = Decoder()
    # A port that nobody holds on the other side reads as empty.
    while data := os.read(port, _CHUNK):
        decoder.add(data)
        yield from decoder.frames()


def _one(port: int, job: dict[str, Any]) -> None:
    start = time.monotonic()
    news, news_end = os.pipe()
    said, said_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(news)
        os.close(said)
        os.close(port)
        run_call(job, news_end, said_end)
    os.close(news_end)
    os.close(said_end)
    watch = _Watch(port, child, news, said)
    try:
        problem, stuck = watch.until_gone(float(job["timeout"]))
    finally:
        os.close(news)
        os.close(said)
    end = {"seconds": time.monotonic() - start, "said": bytes(watch.said).decode(errors="replace")}
    if problem or watch.done is None:
        end |= {"problem": problem or "it ended without a result", "stuck": stuck}
        _send(port, Kind.FAILED, pack(end))
    else:
        _send(
            port,
            Kind.DONE if "value" in watch.done else Kind.FAILED,
            pack({"stuck": False} | watch.done | end),
        )


class _Watch:
    """One job's process: hands its parts on to the host, keeps the end of what it writes."""

    def __init__(self, port: int, child: int, news: int, said: int) -> None:
        self.said = bytearray()
        self.done: dict[str, Any] | None = None
        self._port, self._child, self._news, self._said = port, child, news, said
        self._decoder = Decoder()

    def until_gone(self, timeout: float) -> tuple[str, bool]:
        """Return (problem or "", whether the process cannot be killed)."""
        # The end of the process counts, not of its pipes: what it started may hold those for ever.
        process = os.pidfd_open(self._child)
        poll = select.poll()
        for fd in (self._news, self._said, process):
            poll.register(fd, select.POLLIN)
        poll.register(self._port, 0)  # POLLHUP: the host has left
        deadline, killed = time.monotonic() + timeout, False
        try:
            while True:
                left = deadline - time.monotonic()
                ready = dict(poll.poll(max(left, 0) * 1000))
                if self._port in ready:
                    os._exit(0)  # nobody listens any more; the kernel panics and the machine ends
                for fd in (self._news, self._said):
                    if fd in ready and not self._read(fd):
                        poll.unregister(fd)
                    elif fd == self._news and fd in ready and not killed:
                        deadline = time.monotonic() + timeout
                if process in ready:
                    return self._ended(killed, timeout), False
                if time.monotonic() >= deadline:
                    if killed:
                        return f"it gave no news for {timeout:g} s and cannot be killed", True
                    os.kill(self._child, signal.SIGKILL)
                    deadline, killed = time.monotonic() + _GRACE, True
        finally:
            os.close(process)

    def _ended(self, killed: bool, timeout: float) -> str:
        for fd in (self._news, self._said):
            os.set_blocking(fd, False)
            while self._read(fd):
                pass
        _, status = os.waitpid(self._child, 0)
        if killed:
            return f"it gave no news for {timeout:g} s"
        if os.WIFSIGNALED(status):
            return f"it died of {signal.Signals(os.WTERMSIG(status)).name}"
        return "" if status == 0 else f"it ended with status {os.WEXITSTATUS(status)}"

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if fd == self._said:
            self.said += data
            del self.said[:-_SAID]
        else:
            self._decoder.add(data)
            for kind, payload in self._decoder.frames():
                if kind is Kind.PART:
                    _send(self._port, kind, payload)
                else:
                    self.done = unpack(payload)
        return bool(data)


def _send(port: int, kind: Kind, payload: bytes) -> None:
    view = memoryview(encode(kind, payload))
    while view:
        view = view[os.write(port, view) :]
