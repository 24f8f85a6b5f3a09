# SPDX-License-Identifier: Apache-2.0
"""Find all calls and jumps to a function in the code of an image, x86-64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.kernels.registered.space import Segment, Space

__all__ = ["calls_of"]

_CHUNK: Final = 1 << 16  # bytes; within one, the upper half of a distance takes at most three values
_OPCODES: Final = frozenset({0xE8, 0xE9})  # call, jmp


def calls_of(space: Space, target: int) -> list[int]:
    """Addresses, ascending, of the instructions that call or jump to ``target`` by a distance of 32 bits.

    Bytes are compared, not instructions, so in 2**32 there may be one that is none.
    """
    return sorted(site for segment in space.segments if segment.code for site in _in_segment(segment, target))


def _in_segment(segment: Segment, target: int) -> Iterator[int]:
    data = bytes(segment.data)
    for start in range(0, len(data), _CHUNK):
        # A distance counts from its own end. Its upper half is looked for, which bytes.find does fast.
        beyond = min(len(data), start + _CHUNK)
        nearest = target - (segment.address + start)
        if not -(1 << 31) <= nearest < (1 << 31) + _CHUNK:
            continue
        for half in {(nearest - away) >> 16 & 0xFFFF for away in (0, _CHUNK // 2, _CHUNK)}:
            wanted = half.to_bytes(2, "little")
            at = data.find(wanted, start, beyond + 1)
            while at >= 0:
                end = at + 2
                if at >= 3 and start < end <= beyond:
                    distance = int.from_bytes(data[at - 2 : end], "little", signed=True)
                    if segment.address + end + distance == target:
                        if data[at - 3] in _OPCODES:
                            yield segment.address + at - 3
                        elif at >= 4 and data[at - 4] == 0x0F and data[at - 3] & 0xF0 == 0x80:
                            yield segment.address + at - 4  # a conditional jump
                at = data.find(wanted, at + 1, beyond + 1)
