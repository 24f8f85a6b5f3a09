# SPDX-License-Identifier: Apache-2.0
"""Work in another network namespace: done there, and nobody is left there."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from holdfast.load.netns import in_network_namespace
from holdfast.rss.report_ask import where
from holdfast.rss.tap import MultiqueueTap

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


def here() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_ones_own_needs_no_thread() -> None:
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert in_network_namespace(fd, threading.get_ident) == threading.get_ident()
    finally:
        os.close(fd)


def test_another_one_is_entered_and_left() -> None:
    home, threads = here(), threading.active_count()
    with MultiqueueTap(1, name="hfns0") as tap:
        fd, name = where(tap.fds[0])
        try:
            assert name == "hfns0"
            assert in_network_namespace(fd, here) not in ("", home)
            assert in_network_namespace(fd, socket.if_nameindex)[-1][1] == "hfns0"
            with pytest.raises(ZeroDivisionError):
                in_network_namespace(fd, lambda: 1 // 0)
        finally:
            os.close(fd)
    assert (here(), threading.active_count()) == (home, threads)


def test_what_is_no_namespace() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            in_network_namespace(fd, here)
    finally:
        os.close(fd)
