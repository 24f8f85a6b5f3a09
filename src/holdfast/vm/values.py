# SPDX-License-Identifier: Apache-2.0
"""Values of jobs as bytes: JSON, with byte strings kept aside instead of inside.

Nothing that comes out of a guest can do more than be wrong: no pickle. The guest imports this too.
A payload is the length of the JSON text (u32 LE), the text, then the byte strings one after the other; in the
text stands ``{"\\u0000": length}`` for each, in their order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

__all__ = ["ValueFormatError", "pack", "unpack"]

_LENGTH = struct.Struct("<I")
_MARK = "\0"


class ValueFormatError(ValueError):
    """Not a payload that :func:`pack` made."""


def pack(value: Any) -> bytes:
    """Return a value of None, bool, int, float, str, bytes, lists, tuples and dicts with string keys.

    Tuples come back as lists. Raises :class:`TypeError` for anything else.
    """
    strings: list[bytes] = []
    text = json.dumps(_outside(value, strings), separators=(",", ":"), ensure_ascii=True).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *strings])


def unpack(payload: bytes) -> Any:
    """Return the value. Raises :class:`ValueFormatError`."""
    if len(payload) < _LENGTH.size:
        raise ValueFormatError("a payload is too short for its length")
    (length,) = _LENGTH.unpack_from(payload)
    start = _LENGTH.size + length
    try:
        # ValueError covers bad JSON and bad UTF-8; RecursionError is what deep nesting gives
        value, end = _inside(json.loads(payload[_LENGTH.size : start]), payload, start)
    except (ValueError, RecursionError) as error:
        raise ValueFormatError(f"a payload cannot be read: {error}") from None
    if end != len(payload):
        raise ValueFormatError(f"a payload has {len(payload)} bytes and tells of {end}")
    return value


def _outside(value: Any, strings: list[bytes]) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        strings.append(bytes(value))
        return {_MARK: len(strings[-1])}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key != _MARK for key in value):
            raise TypeError("keys of a value that is sent are strings")
        return {key: _outside(one, strings) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_outside(one, strings) for one in value]
    return value


def _inside(value: Any, payload: bytes, at: int) -> tuple[Any, int]:
    if isinstance(value, dict):
        if value.keys() == {_MARK}:
            length = value[_MARK]
            if not isinstance(length, int) or not 0 <= length <= len(payload) - at:
                raise ValueFormatError("a byte string of a payload is not in it")
            return payload[at : at + length], at + length
        found = {}
        for key, one in value.items():
            found[key], at = _inside(one, payload, at)
        return found, at
    if isinstance(value, list):
        items = []
        for one in value:
            item, at = _inside(one, payload, at)
            items.append(item)
        return items, at
    return value, at
