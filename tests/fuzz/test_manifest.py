# SPDX-License-Identifier: Apache-2.0
"""holdfast.toml: whatever it says, a manifest comes back or one line that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.inputs import BOUNDED, bounds, damaged

from holdfast.bundle.bundle import Bundle
from holdfast.bundle.manifest import read_manifest
from holdfast.errors import HoldfastError, ManifestError

SHIPPED = (Path(__file__).parents[2] / "bundles/net/rss/holdfast.toml").read_bytes()

FULL = b"""
[bundle]
name = "net/x"
version = "1"
description = "d"
license = "GPL-2.0-only"
[interface.programs.steer]
type = "SOCKET_FILTER"
attach = "none"
[interface.maps.m]
type = "ARRAY"
key_size = 4
value_size = 64
max_entries = 1
flags = ["MMAPABLE"]
key = "__u32"
value = "struct v"
[[variant]]
name = "a"
object = "a.bpf.o"
source = "a.bpf.c"
summary = "s"
programs = ["steer"]
[fallback]
name = "user-space"
summary = "s"
python = "a.b:C"
"""

VALUES = (
    '""', '"../../etc/passwd"', '"/dev/zero"', '"\\u0000"', '"a\\nb"', "0", "-1", "99999999999999999999",
    "1.5", "inf", "nan", "true", "[]", "[[]]", "{}", "1979-05-27", '["x", 1]', '"' + "x" * 3000 + '"',
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundle")


def read(folder: Path, data: bytes) -> Any:
    path = folder / "holdfast.toml"
    path.write_bytes(data)
    with bounds():
        try:
            return read_manifest(path)
        except ManifestError as error:
            text = str(error)
            assert text.startswith(str(path)), text
            assert "\n" not in text and len(text) < 4000, text
            return None


def test_the_seeds_are_right(folder: Path) -> None:
    for data in (SHIPPED, FULL):
        assert read(folder, data) is not None


@BOUNDED
@given(data=damaged(SHIPPED, FULL))
def test_damaged(folder: Path, data: bytes) -> None:
    read(folder, data)


@BOUNDED
@given(line=st.integers(0, FULL.count(b"\n") - 1), value=st.sampled_from(VALUES))
def test_any_value_anywhere(folder: Path, line: int, value: str) -> None:
    lines = FULL.decode().splitlines()
    key, equals, _ = lines[line].partition(" = ")
    if equals:
        lines[line] = f"{key} = {value}"
    read(folder, "\n".join(lines).encode())


@BOUNDED
@given(st.text("[]=.\"'{}\n ax1#\\", max_size=200))
def test_anything_that_looks_like_toml(folder: Path, text: str) -> None:
    read(folder, text.encode())


@pytest.mark.parametrize(
    "deep", ["[" * 5000, "a = " + "[" * 5000, "a = " + "{x=" * 5000, "a." * 5000 + "b = 1"]
)
def test_deep_nesting(folder: Path, deep: str) -> None:
    assert read(folder, deep.encode()) is None


def test_objects_that_are_no_objects(folder: Path) -> None:
    """A bundle opens its variants: what is behind a name may be anything."""
    (folder / "holdfast.toml").write_bytes(FULL)
    target = folder / "a.bpf.o"
    for data in (None, b"", b"\x7fELF", b"#!/bin/sh\n"):
        target.unlink(missing_ok=True)
        if data is not None:
            target.write_bytes(data)
        with pytest.raises(HoldfastError) as caught, bounds():
            Bundle.open(folder)
        assert "\n" not in str(caught.value)
        assert "a.bpf.o" in str(caught.value)
