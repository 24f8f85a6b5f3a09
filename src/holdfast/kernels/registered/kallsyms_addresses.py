# SPDX-License-Identifier: Apache-2.0
"""Addresses of the symbols that :mod:`holdfast.kernels.kallsyms` reads the names of.

scripts/kallsyms.c writes a table of 32 bits for each symbol, in the order of the names, in three forms:

- ``kallsyms_offsets`` and, right after it (aligned to 8), ``kallsyms_relative_base`` (u64); read in 6.18.
- the same with CONFIG_KALLSYMS_ABSOLUTE_PERCPU, in which an offset that is not negative is an absolute
  address and a negative one counts down from the base less one; read in 5.10, 6.1 and 6.12.
- each the distance from its own place to the symbol; read in 7.2.

The base stands before the number of symbols (5.10, 6.1) or the table after the index of tokens (6.12 on).
Nothing is believed that does not come out in ascending order.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Final

__all__ = ["addresses"]

_MASK: Final = (1 << 64) - 1
_DIGITS: Final = re.compile(b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00")
_INDEX: Final = struct.Struct("<256H")
_NEAR: Final = 1 << 14  # bytes after the digits in which the index of tokens ends
_PLACES: Final = 64  # that are tried; a kernel's own is among the first few


def addresses(rodata: bytes, at: int, count: int) -> list[int] | None:
    """The address of each of ``count`` symbols, ascending; None where no such table is found.

    ``rodata`` are the read-only data that hold the tables, ``at`` their address. In an image that is
    relocated before it runs (arm64) the base can stand there as 0; then addresses count from its start.
    """
    for index in _indexes(rodata):
        places = list(islice(_tables(rodata, index, count), _PLACES))
        for place in places:
            if found := _absolute(rodata, place, count):
                return found
        # Only the order of the symbols confirms this form, so it is the last to be tried.
        for place in places[:2]:
            if found := _relative(rodata, place, at, count):
                return found
    return None


def _indexes(rodata: bytes) -> Iterator[int]:
    """Where an index of 256 tokens may end."""
    for digits in _DIGITS.finditer(rodata):
        start = (digits.end() + 3) & -4
        for at in range(start, min(start + _NEAR, len(rodata) - _INDEX.size), 4):
            # The index begins with 0, and the digits are tokens of one character each.
            if rodata[at : at + 2] == b"\0\0" and rodata[at + 2 : at + 4] != b"\0\0":
                offsets = _INDEX.unpack_from(rodata, at)
                if offsets[57] - offsets[48] == 18 and all(low < high for low, high in pairwise(offsets)):
                    yield at + _INDEX.size


def _tables(rodata: bytes, index: int, count: int) -> Iterator[int]:
    """Where a table of addresses may begin."""
    yield index
    yield (index + 7) & -8
    number = struct.pack("<I", count)
    found = rodata.rfind(number, 0, index)
    while found >= 0:
        if found % 8 == 0:
            yield found - 8 - ((4 * count + 7) & -8)
        found = rodata.rfind(number, 0, found)


def _absolute(rodata: bytes, place: int, count: int) -> list[int] | None:
    base_at = (place + 4 * count + 7) & -8
    if place < 0 or base_at + 8 > len(rodata):
        return None
    (base,) = struct.unpack_from("<Q", rodata, base_at)
    if base and base >> 40 != 0xFFFFFF and base >> 48 != 0xFFFF:
        return None  # no address of a kernel
    offsets = _words(rodata, place, count)
    if offsets[-1] < 0 and offsets[count // 2] < 0:
        below = base - 1
        found = [offset if offset >= 0 else below - offset for offset in offsets]
    else:
        found = [base + (offset & 0xFFFFFFFF) for offset in offsets]
    return found if _ascend(found) else None


def _relative(rodata: bytes, place: int, at: int, count: int) -> list[int] | None:
    if place < 0 or place + 4 * count > len(rodata):
        return None
    offsets = _words(rodata, place, count)
    if len(set(offsets)) <= count // 4:
        return None  # filler, which would come out in order
    found = [(here + offset) & _MASK for here, offset in _placed(at + place, offsets)]
    return found if _ascend(found) else None


def _placed(start: int, values: array[int]) -> Iterator[tuple[int, int]]:
    """(address, value) of an array of 32-bit words."""
    return zip(range(start, start + 4 * len(values), 4), values, strict=True)


def _words(rodata: bytes, place: int, count: int) -> array[int]:
    words = array("i")
    words.frombytes(rodata[place : place + 4 * count])
    return words


def _ascend(found: list[int]) -> bool:
    """Whether these are in order and more than a few."""
    return found[0] < found[-1] and found == sorted(found)
