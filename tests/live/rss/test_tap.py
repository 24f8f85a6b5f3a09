# SPDX-License-Identifier: Apache-2.0
"""A real TAP: does the kernel put each frame into the queue that the reference says."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from tests import rssframes, tapegress
from tests.live.rss.test_variants import RULES, expected

from holdfast import sys as kernel
from holdfast.errors import KernelAccessError, UsageError
from holdfast.rss.config import RssConfig
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import ALL_TYPES
from holdfast.rss.vectors import KEY, VECTORS
from holdfast.terms import ProgramType

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

FRAME = VECTORS[0].frames()[0][0]
SPREAD = tuple(index % 3 for index in range(128))  # queue 3 is for what is not hashed


def open_fds() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


def returning(value: int) -> kernel.OwnedFd:
    """A program of two instructions that returns ``value``."""
    insns = struct.pack("=BBhi", 0xB7, 0, 0, value) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    loaded = kernel.prog_load(ProgramType.SOCKET_FILTER, insns)
    assert loaded.fd is not None, loaded.log
    return loaded.fd


def test_published_vectors(steering: KernelSteering, tap: MultiqueueTap) -> None:
    config = RssConfig.spread(KEY, 4)
    steering.configure(config)
    tap.set_steering(steering.program_fd)
    for vector in VECTORS:
        for frame, kind, value in vector.frames():
            assert tap.deliver(frame) == config.queue_of(value), (vector, kind)


def test_rules(steering: KernelSteering, tap: MultiqueueTap) -> None:
    tap.set_steering(steering.program_fd)
    for name, (frame, types, tunnels) in RULES.items():
        enabled = tunnels & steering.supported_tunnel_types
        config = RssConfig(KEY, types, SPREAD, unclassified=3, tunnel_types=enabled)
        steering.configure(config)
        assert tap.deliver(frame) == expected(frame, config), name


def settings_for(steering: KernelSteering) -> RssConfig:
    config = RssConfig(KEY, ALL_TYPES, SPREAD, unclassified=3, tunnel_types=steering.supported_tunnel_types)
    steering.configure(config)
    return config


def test_frames_of_the_grammar(steering: KernelSteering, tap: MultiqueueTap) -> None:
    config = settings_for(steering)
    tap.set_steering(steering.program_fd)
    pick = rssframes.Seeded(4)
    for _ in range(rssframes.COUNT // 10):
        frame = rssframes.frame(pick)
        assert tap.deliver(frame) == expected(frame, config), frame.hex()


def test_frames_in_pages(steering: KernelSteering, tap: MultiqueueTap) -> None:
    # All but MAC header and tags lies outside the linear part: nothing else comes through.
    config = settings_for(steering)
    tapegress.allow_large_frames(tap)
    tap.set_steering(steering.program_fd)
    pick = rssframes.Seeded(5)
    with tapegress.egress(tap, tapegress.drop_linear(34)):
        with pytest.raises(KernelAccessError, match="did not take"):
            tap.send(FRAME)
        for _ in range(rssframes.COUNT // 20):
            frame = rssframes.frame(pick).ljust(tapegress.PAGED, b"\xa5")
            assert tap.deliver(frame) == expected(frame, config), frame.hex()


def test_tags_that_the_kernel_took_out(steering: KernelSteering, tap: MultiqueueTap) -> None:
    config = settings_for(steering)
    tap.set_steering(steering.program_fd)
    pick = rssframes.Seeded(6)
    for proto in (0x8100, 0x88A8):
        with tapegress.egress(tap, tapegress.push_tag(proto, 7)):
            for _ in range(100):
                frame = rssframes.frame(pick)
                # The TAP puts the tag back when the frame is read, and two others in the frame are too many.
                read = frame[:12] + proto.to_bytes(2, "big") + b"\0\7" + frame[12:]
                tap.send(frame)
                assert tap.receive(1.0) == [(expected(read, config), read)], frame.hex()


@pytest.mark.parametrize(("value", "queue"), [(4, 0), (7, 3), (-1, 3), (0x10001, 1)])
def test_the_kernel_takes_16_bits_modulo_the_queues(tap: MultiqueueTap, value: int, queue: int) -> None:
    with returning(value) as program:
        tap.set_steering(program.fileno())
        assert tap.deliver(FRAME) == queue


def test_detached_steering_steers_no_more(tap: MultiqueueTap) -> None:
    with returning(2) as program:
        tap.set_steering(program.fileno())
        assert tap.deliver(FRAME) == 2
        tap.set_steering(None)
    # The kernel's own choice by its flow hash: one queue per flow, several queues over many flows.
    frames = [frame for vector in VECTORS for frame, _, _ in vector.frames()]
    assert len({tap.deliver(frame) for frame in frames}) > 1


def test_a_detached_queue_moves_the_last_one(tap: MultiqueueTap) -> None:
    with returning(1) as program:
        tap.set_steering(program.fileno())
        tap.detach_queue(1)
        assert tap.deliver(FRAME) == 3
        tap.attach_queue(1)
        assert tap.deliver(FRAME) == 3


def test_what_is_no_program_is_refused(tap: MultiqueueTap) -> None:
    with pytest.raises(UsageError, match="TUNSETSTEERINGEBPF"), Path(os.devnull).open() as file:
        tap.set_steering(file.fileno())


def test_the_tap_is_nobody_elses() -> None:
    home = Path("/proc/self/ns/net").readlink()
    before = {path.name for path in Path("/sys/class/net").iterdir()}
    with MultiqueueTap(2, name="hfrss9"):
        assert {path.name for path in Path("/sys/class/net").iterdir()} == before
        assert Path("/proc/self/ns/net").readlink() == home
        # Free in every other namespace: the name is taken in this one TAP's alone.
        with MultiqueueTap(2, name="hfrss9"):
            pass


def test_a_failure_leaves_no_descriptor() -> None:
    before = open_fds()
    for how in ({"queues": 0}, {"queues": 257}, {"name": ""}, {"name": "more-than-15-bytes"}):
        with pytest.raises(UsageError):
            MultiqueueTap(**how)
    with pytest.raises(KernelAccessError, match="TAP"):
        MultiqueueTap(2, name="not/a/name")
    assert open_fds() == before


def test_all_types_and_none(steering: KernelSteering, tap: MultiqueueTap) -> None:
    steering.configure(RssConfig.spread(KEY, 1, unclassified=2))
    tap.set_steering(steering.program_fd)
    assert tap.deliver(FRAME) == 0
    steering.set_types(ALL_TYPES & ~ALL_TYPES)
    assert tap.deliver(FRAME) == 2
