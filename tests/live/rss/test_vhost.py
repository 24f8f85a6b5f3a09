# SPDX-License-Identifier: Apache-2.0
"""vhost=on: the program for QEMU steers, and vhost-net of a booted kernel serves each frame in its ring."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests import bootkernels
from tests.live.rss import vhost_inside as inside

import holdfast
from holdfast.rss import reference
from holdfast.rss.shipped import bundle_path
from holdfast.rss.terms import ALL_TYPES
from holdfast.rss.traffic import random_frames
from holdfast.rss.vectors import KEY, VECTORS
from holdfast.vm import Guest, Job

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.usefixtures("live")]

TABLE = list(itertools.islice(itertools.cycle((3, 1, 0, 2)), 128))
KERNELS = ("oldest", "newest")


@pytest.mark.parametrize("which", KERNELS)
def test_frames_reach_the_rings_that_the_reference_says(which: str) -> None:
    kernels = bootkernels.kernels()
    kernel = kernels[0] if which == "oldest" else kernels[-1]
    frames = [frame for vector in VECTORS for frame, _, _ in vector.frames()]
    frames += random_frames(200, 31)
    wanted = []
    for frame in frames:
        kind, data = reference.select(reference.dissect(frame), ALL_TYPES)
        wanted.append(TABLE[reference.toeplitz(KEY, data) % len(TABLE)] if kind else 0)
    home = Path(holdfast.__file__).resolve().parents[1]
    content = (bundle_path("net/rss-qemu") / "helpers.bpf.o").read_bytes()
    booted = Guest.boot(
        kernel,
        modules=("tun", "af_packet", "vhost_net"),
        files={str(home / "vhost_inside.py"): Path(inside.__file__).read_bytes()},
        timeout=300,
    )
    with booted:
        arguments = {"content": content, "key": KEY, "table": TABLE, "frames": frames}
        (result,) = booted.run([Job("vhost", "vhost_inside:steer", arguments)])
    assert result.ok, (result.problem, result.said)
    assert result.value == {"queues": wanted}
