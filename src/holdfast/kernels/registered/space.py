# SPDX-License-Identifier: Apache-2.0
"""An image as the kernel sees it: bytes at addresses, and names of addresses.

vmlinux comes with its virtual addresses. A module is laid out at addresses of our own, with its relocations
carried out, so that whoever reads code need not know the two apart.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Names", "Segment", "Space"]

_MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes at an address. ``fixed`` ones are never written, so what they hold may be believed."""

    name: str
    address: int
    data: bytes | bytearray | memoryview = field(repr=False)
    code: bool = False
    fixed: bool = False

    @property
    def end(self) -> int:
        return self.address + len(self.data)


@dataclass(frozen=True, slots=True)
class Names:
    """Symbols, ordered by address: ``addresses[i]`` is where ``texts[i]`` stands."""

    addresses: Sequence[int]
    texts: Sequence[str]
    _by_text: dict[str, list[int]] = field(default_factory=dict, repr=False)

    def all_at(self, address: int) -> list[str]:
        """Names of exactly that address."""
        beyond = bisect_right(self.addresses, address)
        found = []
        while beyond and self.addresses[beyond - 1] == address:
            beyond -= 1
            found.append(self.texts[beyond])
        return found[::-1]

    def at(self, address: int) -> str:
        """A name of exactly that address, "" for none; one without leading underscores is preferred."""
        return min(self.all_at(address), key=lambda name: (name.startswith("__"), len(name)), default="")

    def around(self, address: int) -> tuple[int, int] | None:
        """Where the symbol that covers an address begins and where the next one does; None outside of all."""
        beyond = bisect_right(self.addresses, address)
        if not beyond or beyond == len(self.addresses):
            return None
        return self.addresses[beyond - 1], self.addresses[beyond]

    def find(self, name: str) -> list[int]:
        """Addresses of all symbols of that name; static ones can share it."""
        if not self._by_text:
            for at, text in zip(self.addresses, self.texts, strict=True):
                self._by_text.setdefault(text, []).append(at)
        return self._by_text.get(name, [])

    def starting(self, prefix: str) -> list[tuple[str, int]]:
        """(name, address) of all that begin with ``prefix``, by address."""
        return [
            (text, at) for text, at in zip(self.texts, self.addresses, strict=True) if text.startswith(prefix)
        ]


class Space:
    """Segments by address, little-endian, and the names in them."""

    def __init__(self, segments: Sequence[Segment], names: Names) -> None:
        self.segments = sorted((s for s in segments if len(s.data)), key=lambda s: s.address)
        self.names = names
        self._starts = [segment.address for segment in self.segments]
        self._volatile: tuple[int, int] = (0, 0)
        first, last = (names.find(f"__{end}_ro_after_init") for end in ("start", "end"))
        if len(first) == len(last) == 1:
            self._volatile = first[0], last[0]

    def segment(self, address: int) -> Segment | None:
        """The one that holds the byte at ``address``."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self.segments[at].end:
            return None
        return self.segments[at]

    def read(self, address: int, size: int) -> bytes | None:
        """``size`` bytes as the build left them; None where the image has none."""
        segment = self.segment(address)
        if segment is None or address + size > segment.end:
            return None
        at = address - segment.address
        return bytes(segment.data[at : at + size])

    def word(self, address: int, size: int = 8) -> int | None:
        """An unsigned number of ``size`` bytes."""
        data = self.read(address, size)
        return None if data is None else int.from_bytes(data, "little")

    def words(self, address: int, count: int) -> tuple[int, ...] | None:
        """``count`` numbers of 32 bits."""
        data = self.read(address, 4 * count)
        return None if data is None else struct.unpack(f"<{count}I", data)

    def fixed(self, address: int, size: int) -> int | None:
        """As :meth:`word`, but None for data that can have changed when code runs.

        .rodata of a kernel ends with what is only made read-only after init (``__ro_after_init``).
        """
        segment = self.segment(address & _MASK)
        if segment is None or not segment.fixed:
            return None
        first, last = self._volatile
        if address + size > first and address < last:
            return None
        return self.word(address, size)
