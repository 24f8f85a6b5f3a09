# SPDX-License-Identifier: Apache-2.0
"""The kernel's own TCP through two TAPs and a reader between them, as a monitor has it, with offloads."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import pytest
from tests.live.rss.conftest import VARIANTS, Objects, load_build
from tests.live.rss.test_report import CSUM, TSO4, TUNSETOFFLOAD, Runs, assert_right

from holdfast.load.netns import in_network_namespace
from holdfast.rss.config import RssConfig
from holdfast.rss.report import Received, Reporting, Rung
from holdfast.rss.report_ask import where
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.vectors import KEY

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

CONFIG = RssConfig.spread(KEY, 4, unclassified=3)
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
STREAM = random.Random(9).randbytes(1_000_000)
PATIENCE = 60.0  # seconds for all of a stream
T = TypeVar("T")


def inside(tap: MultiqueueTap, work: Callable[[], T]) -> T:
    namespace, _ = where(tap.fds[0])
    try:
        return in_network_namespace(namespace, work)
    finally:
        os.close(namespace)


def number(tap: MultiqueueTap, address: str) -> None:
    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, text in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
                block = struct.pack(
                    "16sHH4s16x", tap.name.encode(), socket.AF_INET, 0, socket.inet_aton(text)
                )
                fcntl.ioctl(control, request, block)

    inside(tap, work)


def carry(source: Reporting, target: MultiqueueTap) -> list[Received]:
    """One round of what a monitor does: read, and give frame and header to the other side."""
    got = [one for queue in range(4) for one in source.read_batch(queue)]
    for one in got:
        os.writev(target.fds[0], [one.header[:12], one.frame])
    return got


@pytest.mark.parametrize("offload", [0, CSUM, CSUM | TSO4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stream_arrives_as_it_was(objects: Objects, variant: str, offload: int) -> None:
    arrived: list[bytes] = []
    with (
        load_build(f"rss-report/{variant}/v2", objects) as loaded,
        MultiqueueTap(4, header=12) as here,
        MultiqueueTap(4, header=12) as there,
        Reporting(here.fds, CONFIG, Runs(loaded)) as sending,
        Reporting(there.fds, CONFIG) as answering,
    ):
        for tap, address in ((here, "10.77.0.1"), (there, "10.77.0.2")):
            fcntl.ioctl(tap.fds[0], TUNSETOFFLOAD, offload)
            number(tap, address)
        server = inside(there, lambda: socket.create_server(("10.77.0.2", 7777)))
        client = inside(here, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        for one in (server, client):
            one.settimeout(PATIENCE)

        def send() -> None:
            with client:
                client.connect(("10.77.0.2", 7777))
                client.sendall(STREAM)

        def receive() -> None:
            with server, server.accept()[0] as stream:
                stream.settimeout(PATIENCE)
                while data := stream.recv(1 << 16):
                    arrived.append(data)

        threads = [threading.Thread(target=work) for work in (send, receive)]
        for thread in threads:
            thread.start()
        got: list[Received] = []
        end = time.monotonic() + PATIENCE
        while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
            got += carry(sending, there)
            carry(answering, here)
        for thread in threads:
            thread.join()
    assert b"".join(arrived) == STREAM
    assert {one.rung for one in got} == {Rung.BPF}
    for one in got:
        assert_right(one, CONFIG)
    # All segments of the one connection in one queue; the rest, ARP, in the one for what is not hashed.
    queues = Counter((one.queue, one.hash_report.name) for one in got)
    assert len([kind for kind in queues if kind[1] == "TCPv4"]) == 1
    whole = [one for one in got if len(one.frame) > 1600]
    assert bool(whole) == bool(offload & TSO4)
    assert all(one.header[1] == 1 for one in whole)  # VIRTIO_NET_HDR_GSO_TCPV4
