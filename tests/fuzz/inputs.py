# SPDX-License-Identifier: Apache-2.0
"""What all fuzz tests of parsers share: damaged inputs, and the promise that is held against them.

A fuzz test of a parser is three lines::

    @BOUNDED
    @given(damaged(SEED))
    def test_reader(data: bytes) -> None:
        answer(MyReader.from_bytes, data, "fuzz")

Whatever the bytes are, the parser returns or raises one of holdfast's own errors with a message of one line,
within a bound on processor time and memory. ``HOLDFAST_FUZZ`` multiplies the number of examples (a nightly
run sets 100).
"""

from __future__ import annotations

import os
import resource
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from holdfast.errors import HoldfastError

__all__ = ["BOUNDED", "answer", "bounds", "damaged"]

BOUNDED = settings(
    max_examples=int(os.environ.get("HOLDFAST_FUZZ", "1")) * 150,
    deadline=None,  # the bound is on processor time, below: this machine may be busy with other things
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

SECONDS = 20
MEBIBYTES = 512
EXTREMES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
)


def damaged(*seeds: bytes, size: int = 4096) -> st.SearchStrategy[bytes]:
    """Bytes that a careless or hostile file could hold.

    Random bytes, at most ``size`` of them, and each of ``seeds`` (valid inputs) cut off, with bits flipped,
    with 32-bit fields set to extreme values (huge counts, offsets that point back), or with pieces doubled.
    """
    strategies: list[st.SearchStrategy[bytes]] = [st.binary(max_size=size)]
    for seed in seeds:
        places = st.integers(0, max(len(seed) - 1, 0))
        strategies.append(places.map(lambda cut, seed=seed: seed[:cut]))
        strategies.append(
            st.lists(st.tuples(places, st.integers(0, 7)), min_size=1, max_size=8).map(
                lambda flips, seed=seed: _flip(seed, flips)
            )
        )
        strategies.append(
            st.lists(st.tuples(places, st.sampled_from(EXTREMES)), min_size=1, max_size=4).map(
                lambda writes, seed=seed: _overwrite(seed, writes)
            )
        )
        strategies.append(
            st.tuples(places, places, places).map(
                lambda cut, seed=seed: seed[: cut[2]] + seed[min(cut[:2]) : max(cut[:2])] + seed[cut[2] :]
            )
        )
    return st.one_of(strategies)


def _flip(seed: bytes, flips: list[tuple[int, int]]) -> bytes:
    data = bytearray(seed)
    for place, bit in flips:
        if place < len(data):
            data[place] ^= 1 << bit
    return bytes(data)


def _overwrite(seed: bytes, writes: list[tuple[int, int]]) -> bytes:
    data = bytearray(seed)
    for place, value in writes:
        aligned = place & ~3
        if aligned + 4 <= len(data):
            struct.pack_into("<I", data, aligned, value)
    return bytes(data)


def answer(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What ``function`` returns, or None where it refuses its input properly; anything else is a failure."""
    with bounds():
        try:
            return function(*arguments, **options)
        except HoldfastError as error:
            text = str(error)
            assert text.strip(), "an error without a message"
            assert "\n" not in text, f"more than one line: {text!r}"
            return None


@contextmanager
def bounds() -> Iterator[None]:
    """At most SECONDS of processor time and MEBIBYTES of address space more than there are now."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"more than {SECONDS} s of processor time for one small input")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGVTALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEBIBYTES * 1024 * 1024, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)
