# SPDX-License-Identifier: Apache-2.0
"""The check that ends a run of the live tests sees what it is there to see."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

import pytest
from tests import leftovers

from holdfast.sys import map_create, obj_pin
from holdfast.terms import MapType

pytestmark = pytest.mark.live

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000


def test_a_map_and_its_pin_are_seen_until_they_are_gone() -> None:
    before = leftovers.in_the_kernel()
    pin = Path(f"/sys/fs/bpf/holdfast_test_{os.getpid()}_left")
    held = map_create(MapType.ARRAY, key_size=4, value_size=4, max_entries=1)
    try:
        seen = leftovers.in_the_kernel() - before
        assert len(seen) == 1
        assert next(iter(seen)).startswith("map_id:")
        obj_pin(held.fileno(), pin)
    finally:
        held.close()
    try:
        assert leftovers.in_the_kernel() - before == {f"pin {pin.name}"}
    finally:
        pin.unlink()
    assert leftovers.in_the_kernel() == before


def test_a_network_namespace_and_a_link_are_seen() -> None:
    from pyroute2 import netns

    name = f"hf{os.getpid()}"
    before = leftovers.in_the_kernel()
    netns.create(name)
    try:
        assert leftovers.in_the_kernel() - before == {f"netns {name}"}
    finally:
        netns.remove(name)
    with Path("/dev/net/tun").open("r+b", buffering=0) as tap:  # not persistent: it goes with its descriptor
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        assert leftovers.in_the_kernel() - before == {f"link {name}"}
    assert leftovers.in_the_kernel() == before


def test_an_open_descriptor_is_seen() -> None:
    before = leftovers.open_descriptors()
    reader, writer = os.pipe()
    try:
        assert len(leftovers.open_descriptors() - before) == 2
    finally:
        os.close(reader)
        os.close(writer)
    assert leftovers.open_descriptors() == before
