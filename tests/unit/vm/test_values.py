# SPDX-License-Identifier: Apache-2.0
"""Values of jobs come back as they went, and damaged ones do not come back at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.vm.values import ValueFormatError, pack, unpack

KEYS = st.text(max_size=5).filter(lambda key: key != "\0")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip(value: Any) -> None:
    assert unpack(pack(value)) == value


def test_byte_strings_are_not_blown_up() -> None:
    content = bytes(range(256)) * 4096
    assert len(pack({"object": content})) < len(content) + 100


@given(st.binary(max_size=60))
def test_garbage(payload: bytes) -> None:
    try:
        unpack(payload)
    except ValueFormatError:
        pass


@given(VALUES, st.integers(1, 20))
def test_cut_short(value: Any, missing: int) -> None:
    with pytest.raises(ValueFormatError):
        unpack(pack(value)[:-missing])


@pytest.mark.parametrize(
    "text",
    [b'{"\\u0000":9}', b'{"\\u0000":-1}', b'{"\\u0000":"a"}', b'{"\\u0000":null}', b"[" * 100000, b"\xff"],
)
def test_lies(text: bytes) -> None:
    with pytest.raises(ValueFormatError):
        unpack(len(text).to_bytes(4, "little") + text + b"12345678")


@pytest.mark.parametrize("value", [{1: 2}, {"\0": 3}, object(), [b"", {"a": {2}}]])
def test_what_cannot_be_sent(value: Any) -> None:
    with pytest.raises(TypeError):
        pack(value)
