# SPDX-License-Identifier: Apache-2.0
"""Links: attached, detached, disowned, pinned, all or none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.live.load.objects import STRUCT_OPS, compile_object, gone

from holdfast import load
from holdfast import sys as kernel
from holdfast.errors import LibbpfError, UsageError
from holdfast.libbpf import library

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live", "leaves_nothing")]

Compiled = dict[str, Path]


def links() -> set[int]:
    return set(kernel.ids("link"))


def test_attached_until_closed(compiled: Compiled) -> None:
    with load.open_object(compiled["good"], programs=["watch"], map_sizes={"unsized": 1}) as obj:
        with obj.program("watch").attach() as link:
            number = link.id
            assert kernel.link_info(link.fd).prog_id == obj.program("watch").id
            assert number in links()
        assert gone("link", number)
        assert link.closed
        link.close()
        forgotten = obj.program("watch").attach().id
        assert forgotten in links()
    assert gone("link", forgotten)


def test_a_disowned_link_stays_with_its_descriptor(compiled: Compiled) -> None:
    with load.open_object(compiled["good"], programs=["watch"], map_sizes={"unsized": 1}) as obj:
        link = obj.program("watch").attach()
        number = link.id
        owned = link.disown()
        with pytest.raises(UsageError, match="closed"):
            _ = link.fd
    assert number in links()
    owned.close()
    assert gone("link", number)


def test_a_pinned_link_stays_attached(compiled: Compiled, pin_folder: Path) -> None:
    with load.open_object(compiled["good"], programs=["watch"], map_sizes={"unsized": 1}) as obj:
        link = obj.program("watch").attach()
        number = link.id
        pins = link.pin(pin_folder / "watch")
    assert number in links()
    assert [path.name for path in pins.paths] == ["watch"]
    pins.remove()
    assert gone("link", number)
    assert not pin_folder.exists()


def test_nothing_to_attach_to_is_said(compiled: Compiled) -> None:
    with load.open_object(compiled["mixed"], programs=["good"]) as obj:
        with pytest.raises(LibbpfError, match="section name does not say where") as caught:
            obj.program("good").attach()
        assert caught.value.hint


def test_attach_is_all_or_none(compiled: Compiled) -> None:
    with load.open_object(compiled["good"], size_zero_maps=True) as obj:
        before = links()
        with pytest.raises(LibbpfError):
            obj.attach(["watch", "steer"])
        assert all(gone("link", number) for number in links() - before)
        (link,) = obj.attach(["watch"])
        assert link.id in links()


def test_struct_ops_are_attached_by_their_map(compiled: Compiled) -> None:
    if library().version < (1, 2):
        pytest.skip(f"{library()} does not know .struct_ops.link")
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    with load.open_object(compiled["struct_ops"]) as obj:
        assert len(obj.programs) == 3
        (link,) = obj.attach()
        assert "holdfast_cc" in available.read_text().split()
        assert link.name == "holdfast_cc"
        with pytest.raises(UsageError, match="no STRUCT_OPS map"):
            load.Map("other", lambda: obj.maps["holdfast_cc"].fd).attach()
    assert "holdfast_cc" not in available.read_text().split()


def test_struct_ops_without_a_link_lend_no_descriptor_away(compiled: Compiled, tmp_path: Path) -> None:
    """libbpf's link then has the map's descriptor, which the object closes."""
    clang = shutil.which("clang")
    assert clang is not None
    source = STRUCT_OPS.replace(".struct_ops.link", ".struct_ops").replace("holdfast_cc", "holdfast_cd")
    path = compile_object(clang, source, tmp_path, "registered")
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    with load.open_object(path) as obj:
        (link,) = obj.attach()
        number = obj.map("holdfast_cd").id
        assert link.fd == obj.map("holdfast_cd").fd
        owned = link.disown()
        assert owned.fileno() != obj.map("holdfast_cd").fd
    try:
        assert "holdfast_cd" in available.read_text().split()
        assert kernel.map_info(owned.fileno()).id == number
    finally:
        kernel.map_delete(owned.fileno(), bytes(4))
        owned.close()
    assert "holdfast_cd" not in available.read_text().split()


def test_no_descriptor_is_standard_input(compiled: Compiled) -> None:
    saved = os.dup(0)
    os.close(0)
    try:
        with load.open_object(compiled["mixed"], programs=["good"]) as obj:
            numbers = [obj.program("good").fd, obj.map("config").fd]
        assert min(numbers) > 2
    finally:
        os.dup2(saved, 0)
        os.close(saved)
