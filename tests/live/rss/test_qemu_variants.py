# SPDX-License-Identifier: Apache-2.0
"""The variants of bundles/net/rss-qemu under maps that are rewritten as QEMU does it: without notice."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product

import pytest
from tests import rssframes
from tests.live.rss.conftest import LEVELS, VARIANTS, Objects, load_build
from tests.live.rss.test_variants import expected, frames_of, runs

from holdfast import load
from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.qemu_maps import TABLE_LEN, QemuSteering, descriptors, pack_config, pack_key, unpack_key
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import ALL_TYPES, HashType
from holdfast.rss.toeplitz import KEY_BYTES, pack_rows
from holdfast.rss.vectors import KEY, VECTORS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

QEMU_BUILDS = ["/".join(names) for names in product(("rss-qemu",), VARIANTS, LEVELS)]
IDENTITY = tuple(range(TABLE_LEN))
FRAME, _, HASH = VECTORS[0].frames()[0]
ROWS = struct.Struct(f"={KEY_BYTES}sQQQ4608s")  # struct qemu_rows
PIECE = 8  # bytes of a key that a packet copies at once


@pytest.fixture(params=QEMU_BUILDS)
def steer(request: pytest.FixtureRequest, live: object, objects: Objects) -> Iterator[load.Object]:
    """One build of one variant, loaded anew: all maps are zero."""
    with load_build(str(request.param), objects) as loaded:
        yield loaded


def queue(steer: load.Object, frame: bytes, repeat: int = 1) -> int:
    """The queue of the last of ``repeat`` packets."""
    return steer.program("steer").test_run(frame, data_out_size=0, repeat=repeat).return_value


def configure(steer: load.Object, config: RssConfig) -> None:
    QemuSteering(steer.map, steer.program("steer").fd).configure(config)


def rows(steer: load.Object) -> list[tuple[bytes, int, int, int, bytes]]:
    """(key, begun, ended, zero, rows) of each CPU."""
    values = steer.map("qemu_rows").lookup_per_cpu(0)
    assert values is not None
    return [ROWS.unpack_from(one) for one in values]


table_of = cache(pack_rows)


def assert_whole(steer: load.Object) -> None:
    """What stands in each CPU's table is whole, and that of the key beside it."""
    for key, begun, ended, _, content in rows(steer):
        assert begun == ended
        assert content == table_of(unpack_key(key))


def set_rows(steer: load.Object, key: bytes, begun: int, ended: int, content: bytes) -> None:
    value = ROWS.pack(key, begun, ended, 0, content)
    steer.map("qemu_rows").update(0, [value] * len(rows(steer)))


def test_the_descriptors_are_qemus_in_its_order(steer: load.Object) -> None:
    program, *maps = descriptors(steer)
    assert program == steer.program("steer").fd
    assert maps == [steer.map(name).fd for name in ("qemu_config", "qemu_key", "qemu_table")]
    with steer.map("qemu_table").mmap() as memory:
        memory[8 * 5 : 8 * 5 + 2] = struct.pack("=H", 0x1234)  # an entry each 8 bytes
    assert steer.map("qemu_table").lookup(5) == struct.pack("=H", 0x1234)


def test_fresh_maps_send_everything_to_queue_0(steer: load.Object) -> None:
    assert {queue(steer, frame) for vector in VECTORS for frame, _, _ in vector.frames()} == {0}


def test_published_vectors_in_all_32_bits(steer: load.Object) -> None:
    # As in test_variants: with the key moved right by n bits, so are the hash's own bits.
    whole = int.from_bytes(KEY, "big")
    for shift in (0, 7, 14, 21, 25):
        configure(steer, RssConfig((whole >> shift).to_bytes(40, "big"), ALL_TYPES, IDENTITY))
        for vector in VECTORS:
            for frame, kind, value in vector.frames():
                assert queue(steer, frame) == value >> shift & 127, (vector, kind, shift)


def test_frames_of_the_grammar_under_changing_settings(steer: load.Object) -> None:
    pick = rssframes.Seeded(1907)
    frames = frames_of(pick)
    wrong = []
    for _ in range(30):
        drawn = rssframes.config(pick)
        config = RssConfig(drawn.key, drawn.types, drawn.table[:TABLE_LEN], drawn.unclassified)
        configure(steer, config)
        for _ in range(40):
            frame = next(one for one in frames if runs(one))
            if queue(steer, frame) != expected(frame, config):
                wrong.append((frame.hex(), config))
    assert not wrong, f"{len(wrong)} of 1200, the first: {wrong[0]}"


def test_each_key_counts_from_the_next_packet_on(steer: load.Object) -> None:
    chance = random.Random(40)
    data = reference.select(reference.dissect(FRAME), ALL_TYPES)[1]
    configure(steer, RssConfig(KEY, ALL_TYPES, IDENTITY))
    with steer.map("qemu_key").mmap() as memory:
        for _ in range(500):
            key = chance.randbytes(40)
            memory[:40] = pack_key(key)
            assert queue(steer, FRAME) == reference.toeplitz(key, data) & 127


def test_each_byte_of_a_key_counts(steer: load.Object) -> None:
    frame = next(
        frame for vector in VECTORS for frame, _, _ in vector.frames() if frame[12:14] == b"\x86\xdd"
    )
    data = reference.select(reference.dissect(frame), ALL_TYPES)[1]
    configure(steer, RssConfig(KEY, ALL_TYPES, IDENTITY))
    assert len(data) == 36
    for at in range(KEY_BYTES):
        key = KEY[:at] + bytes((KEY[at] ^ 0xFF,)) + KEY[at + 1 :]
        steer.map("qemu_key").update(0, pack_key(key))
        assert queue(steer, frame) == reference.toeplitz(key, data) & 127, at


def test_types_redirect_and_default_queue(steer: load.Object) -> None:
    config = RssConfig(KEY, ALL_TYPES, tuple(index + 1000 for index in IDENTITY), unclassified=7)
    configure(steer, config)
    assert queue(steer, FRAME) == 1000 + (HASH & 127)
    cell = steer.map("qemu_config")
    cell.update(0, pack_config(config, redirect=False))
    assert queue(steer, FRAME) == 7
    cell.update(0, pack_config(RssConfig(KEY, HashType.IPv6, (0,), unclassified=7)))
    assert queue(steer, FRAME) == 7
    for length, wanted in ((0, 7), (1, 1000), (64, 1000 + HASH % 64), (100, 1000 + HASH % 100)):
        cell.update(0, struct.pack("=BBIHH", 1, 0, ALL_TYPES, length, 7))
        assert queue(steer, FRAME) == wanted, length
    # More entries than there are: those that are missing are the default queue's.
    cell.update(0, struct.pack("=BBIHH", 1, 0, ALL_TYPES, 0x8000, 7))
    assert HASH & 0x7FFF >= TABLE_LEN and queue(steer, FRAME) == 7


def test_a_hash_of_zero_is_a_hash(steer: load.Object) -> None:
    configure(steer, RssConfig(bytes(40), ALL_TYPES, (3,), unclassified=9))
    assert queue(steer, FRAME) == 3


def test_a_table_is_used_for_its_own_key_alone(steer: load.Object) -> None:
    configure(steer, RssConfig(KEY, ALL_TYPES, IDENTITY))
    nonsense = b"\x55" * 4608
    set_rows(steer, pack_key(bytes(39) + b"\1"), 3, 3, nonsense)
    assert queue(steer, FRAME) == HASH & 127
    # ... and for that it is used: this test can tell.
    set_rows(steer, pack_key(KEY), 3, 3, nonsense)
    assert queue(steer, FRAME) != HASH & 127
    # Not while it is being made, by whom ever.
    set_rows(steer, pack_key(KEY), 4, 3, nonsense)
    for vector in VECTORS:
        for frame, kind, value in vector.frames():
            assert queue(steer, frame) == value & 127, kind
    assert {one[1:3] for one in rows(steer)} == {(4, 3)}


def test_a_table_is_made_once_for_a_key(steer: load.Object) -> None:
    configure(steer, RssConfig(KEY, ALL_TYPES, IDENTITY))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        for _ in range(20):
            queue(steer, FRAME)
        made = [one for one in rows(steer) if one[1]]
        assert [(key, begun, ended, content) for key, begun, ended, _, content in made] == [
            (pack_key(KEY), 1, 1, pack_rows(KEY))
        ]
    finally:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


# -- the maps rewritten at full speed ---------------------------------------------------------------------

WRITER = """
import mmap, os, sys
fd, step = int(sys.argv[1]), int(sys.argv[2])
values = [bytes.fromhex(one) for one in sys.argv[3:]]
memory = mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED)
parent = os.getppid()
print("writing", flush=True)
while os.getppid() == parent:
    for _ in range(1000):
        for value in values:
            for at in range(0, len(value), step):
                memory[at : at + step] = value[at : at + step]
"""
OTHER = """
import sys
from holdfast import sys as kernel
import os
os.sched_setaffinity(0, {int(sys.argv[3])})
parent = os.getppid()
print("running", flush=True)
while os.getppid() == parent:
    kernel.prog_test_run(int(sys.argv[1]), bytes.fromhex(sys.argv[2]), repeat=20000)
"""


@contextmanager
def process(code: str, *arguments: object, fds: tuple[int, ...]) -> Iterator[None]:
    """A Python process that says a word when it is at it, and ends with this block."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(words, pass_fds=fds, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None and running.stdout.readline()
            yield
        finally:
            running.kill()


def mixtures(one: bytes, other: bytes, used: int) -> set[bytes]:
    """What a packet may copy while one of two values replaces the other, as far as ``used`` bytes matter."""
    pieces = [{one[at : at + PIECE], other[at : at + PIECE]} for at in range(0, used, PIECE)]
    return {b"".join(parts) + one[len(pieces) * PIECE :] for parts in product(*pieces)}


@pytest.mark.parametrize("step", [40, 8], ids=["as one copy", "piece by piece"])
def test_no_packet_is_hashed_by_half_a_table(steer: load.Object, step: int) -> None:
    chance = random.Random(41)
    keys = [chance.randbytes(40), chance.randbytes(40)]
    packed = [pack_key(key) for key in keys]
    frames = [frame for vector in VECTORS for frame, _, _ in vector.frames()]
    configure(steer, RssConfig(keys[0], ALL_TYPES, IDENTITY))
    wanted: dict[bytes, tuple[int, int, set[int]]] = {}
    for frame in frames:
        _, data = reference.select(reference.dissect(frame), ALL_TYPES)
        old, new = (reference.toeplitz(key, data) & 127 for key in keys)
        held = {unpack_key(one) for one in mixtures(*packed, used=len(data) + 4)}
        wanted[frame] = old, new, {reference.toeplitz(key, data) & 127 for key in held}
    # Some mixtures must be impossible, or nothing could be wrong.
    assert min(len(allowed) for _, _, allowed in wanted.values()) <= 4
    seen = {"old": 0, "new": 0, "between": 0}
    with process(
        WRITER,
        steer.map("qemu_key").fd,
        step,
        *(one.hex() for one in packed),
        fds=(steer.map("qemu_key").fd,),
    ):
        for _ in range(60):
            for frame, (old, new, allowed) in wanted.items():
                got = queue(steer, frame, repeat=200)
                assert got in allowed, (frame.hex(), got)
                seen["old" if got == old else "new" if got == new else "between"] += 1
                assert_whole(steer)
    assert seen["old"] and seen["new"], seen


def test_two_runs_on_one_cpu_while_the_key_changes(steer: load.Object) -> None:
    # BPF_PROG_TEST_RUN can be interrupted by another one on the same CPU where the kernel is preemptible.
    chance = random.Random(42)
    keys = [KEY[:16] + chance.randbytes(24), chance.randbytes(40)]
    packed = [pack_key(key) for key in keys]
    _, data = reference.select(reference.dissect(FRAME), ALL_TYPES)
    held = {unpack_key(one) for one in mixtures(*packed, used=len(data) + 4)}
    allowed = {reference.toeplitz(key, data) & 127 for key in held}
    configure(steer, RssConfig(keys[0], ALL_TYPES, IDENTITY))
    fd, program = steer.map("qemu_key").fd, steer.program("steer")
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[0]})
    try:
        with (
            process(OTHER, program.fd, FRAME.hex(), cpus[0], fds=(program.fd,)),
            process(WRITER, fd, 8, *(one.hex() for one in packed), fds=(fd,)),
        ):
            for _ in range(300):
                assert program.test_run(FRAME, data_out_size=0, repeat=200).return_value in allowed
    finally:
        os.sched_setaffinity(0, cpus)
    assert_whole(steer)


def test_on_a_tap_while_key_and_table_change(steer: load.Object) -> None:
    queues = 64
    chance = random.Random(43)
    keys = [chance.randbytes(40), chance.randbytes(40)]
    packed = [pack_key(key) for key in keys]
    tables = [tuple(index % queues for index in IDENTITY), tuple(index * 7 % queues for index in IDENTITY)]
    stored = [b"".join(struct.pack("=Q", one) for one in table) for table in tables]
    frames = [frame for vector in VECTORS for frame, _, _ in vector.frames() if frame[12:14] == b"\x08\x00"]
    configure(steer, RssConfig(keys[0], ALL_TYPES, tables[0]))
    key_map, table_map = steer.map("qemu_key").fd, steer.map("qemu_table").fd
    got: list[tuple[bytes, int | None]] = []
    with MultiqueueTap(queues) as tap:
        tap.set_steering(steer.program("steer").fd)
        with (
            process(WRITER, key_map, 40, *(one.hex() for one in packed), fds=(key_map,)),
            process(WRITER, table_map, 8, *(one.hex() for one in stored), fds=(table_map,)),
        ):
            for _ in range(100):
                got += [(frame, tap.deliver(frame)) for frame in frames]
        # Whatever stood there last: the next packet goes by what stands there now.
        configure(steer, RssConfig(KEY, ALL_TYPES, tables[0]))
        assert tap.deliver(FRAME) == HASH & 127 & (queues - 1)
    used = set()
    for frame, queue_ in got:
        _, data = reference.select(reference.dissect(frame), ALL_TYPES)
        held = {unpack_key(one) for one in mixtures(*packed, used=len(data) + 4)}
        entries = {reference.toeplitz(key, data) & 127 for key in held}
        assert queue_ in {table[entry] for table in tables for entry in entries}
        used.add((frame, queue_))
    assert len(used) > 2 * len(frames)
