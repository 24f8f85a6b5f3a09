# SPDX-License-Identifier: Apache-2.0
"""Pins: all or none, and none that nobody asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import load
from holdfast import sys as kernel
from holdfast.errors import LibbpfError, VerifierError

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live", "leaves_nothing")]

Compiled = dict[str, Path]


def test_pins_outlive_the_object_until_removed(compiled: Compiled, pin_folder: Path) -> None:
    with load.open_object(compiled["good"], programs=["asleep"], size_zero_maps=True) as obj:
        number = obj.map("config").id
        pins = obj.pin(pin_folder / "deep", programs=["asleep"], maps=["config", ".rodata"])
    assert {path.name for path in pins.paths} == {"asleep", "config", "_rodata"}
    with kernel.obj_get(pin_folder / "deep" / "config") as again:
        assert kernel.map_info(again.fileno()).id == number
    pins.remove()
    assert not pin_folder.exists()


def test_unpin_takes_back_what_pin_made(compiled: Compiled, pin_folder: Path) -> None:
    with load.open_object(compiled["mixed"], programs=["good"]) as obj:
        obj.pin(pin_folder)
        assert {path.name for path in pin_folder.iterdir()} == {"good", "config"}
        obj.unpin()
        assert not pin_folder.exists()


def test_when_one_pin_fails_none_stays(compiled: Compiled, pin_folder: Path) -> None:
    with load.open_object(compiled["mixed"], programs=["good"]) as obj:
        obj.pin(pin_folder, programs=[], maps=["config"])
        with pytest.raises(LibbpfError, match="exists already") as caught:
            obj.pin(pin_folder)  # the program first, then the map that is there
        assert caught.value.hint
        assert {path.name for path in pin_folder.iterdir()} == {"config"}
        obj.unpin()


def test_only_a_bpf_file_system_will_do(compiled: Compiled, tmp_path: Path) -> None:
    with (
        load.open_object(compiled["mixed"], programs=["good"]) as obj,
        pytest.raises(LibbpfError, match="not on a bpf file system"),
    ):
        obj.pin(tmp_path / "pins")
    assert not (tmp_path / "pins").exists()


def test_declared_pins_are_not_made_unasked(compiled: Compiled) -> None:
    with load.open_object(compiled["pinned"]) as obj:
        assert "shared" in obj.maps
        assert not Path("/sys/fs/bpf/shared").exists()


def test_declared_pins_are_made_reused_and_taken_back(compiled: Compiled, pin_folder: Path) -> None:
    with load.open_object(compiled["pinned"], pin_root=pin_folder) as first:
        assert [path.name for path in pin_folder.iterdir()] == ["shared"]
        with load.open_object(compiled["pinned"], pin_root=pin_folder) as second:
            assert second.map("shared").id == first.map("shared").id
            second.unpin()
            assert (pin_folder / "shared").exists()  # it was the first one's
        first.unpin()
        assert not (pin_folder / "shared").exists()


def test_a_failed_load_leaves_no_declared_pin(compiled: Compiled, pin_folder: Path) -> None:
    session = load.Session(compiled["pinned"], programs=["good", "broken"], pin_root=pin_folder)
    with pytest.raises(VerifierError):
        session.load()
    assert session.closed
    assert not pin_folder.exists() or not list(pin_folder.iterdir())
