# SPDX-License-Identifier: Apache-2.0
"""Names of a kernel's symbols: packed by the pool's strings, and as a table to look them up in.

Kept is what is asked for: which names there are and how many symbols have each. Their order (by address) and
the letters of their types are not. Half of them are a prefix and the name of another (``__pfx_``,
``__ksymtab_``), so names are kept without such prefixes, one set of names for each prefix.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
from zlib import crc32

from holdfast.kernels.catalogue.parts import DamagedError

__all__ = ["LETTER", "PREFIXES", "SymbolTable", "canonical", "counted", "split_names", "table", "text_of"]

LETTER: Final = "?"
"""Stands for the type of each symbol, which is not kept."""

PREFIXES: Final = (
    b"",
    b"__pfx_",
    b"__ksymtab_",
    b"__kstrtab_",
    b"__kstrtabns_",
    b"__flags_",
    b"__SCT__",
    b"__SCK__",
)
"""Their order is part of the format."""

_HEAD: Final = struct.Struct("<II")
_LONGEST_FIRST: Final = sorted((prefix for prefix in PREFIXES if prefix), key=len, reverse=True)
_PREFIX: Final = re.compile(b"(?:" + b"|".join(_LONGEST_FIRST) + b")(?=.)", re.DOTALL)


def counted(text: str) -> Counter[bytes]:
    """How many symbols have each name, of what :func:`holdfast.kernels.kallsyms.names` gives."""
    return Counter(line[1:].encode("utf-8", "surrogateescape") for line in text.split("\n") if len(line) > 1)


def text_of(names: Counter[bytes]) -> str:
    """The text with these names, sorted."""
    lines = (LETTER + name.decode("utf-8", "surrogateescape") for name in sorted(names.elements()))
    return "\n" + "".join(f"{line}\n" for line in lines)


def canonical(text: str) -> str:
    """The text that comes back for this one: sorted, letters replaced."""
    return text_of(counted(text))


def split_names(names: Counter[bytes]) -> list[list[bytes]]:
    """For each of :data:`PREFIXES` the rest of the names that begin with it, sorted."""
    found: dict[bytes, list[bytes]] = {prefix: [] for prefix in PREFIXES}
    for name in sorted(names.elements()):
        match = _PREFIX.match(name)
        end = match.end() if match else 0
        found[name[:end]].append(name[end:])
    return [found[prefix] for prefix in PREFIXES]


def table(names: Sequence[bytes]) -> bytes:
    """Bytes for :class:`SymbolTable`; a name counts as often as it comes."""
    import numpy as np

    sizes = np.fromiter(map(len, names), np.uint64, len(names)) + np.uint64(1)
    hashes = np.fromiter(map(crc32, names), np.uint64, len(names))
    keys = np.sort(hashes << np.uint64(32) | (np.cumsum(sizes) - sizes))
    return b"".join([_HEAD.pack(len(names), int(sizes.sum())), keys.tobytes(), b"\0".join([*names, b""])])


class SymbolTable:
    """How many symbols have a name; answers as :data:`holdfast.kernels.facts.Kallsyms` wants.

    ``data`` is what :func:`table` gave, in this machine's byte order, and is used in place.
    """

    def __init__(self, data: memoryview) -> None:
        if len(data) < _HEAD.size:
            raise DamagedError("a table of symbols is cut off")
        count, size = _HEAD.unpack_from(data)
        end = _HEAD.size + 8 * count
        if len(data) != end + size:
            raise DamagedError("a table of symbols has another size")
        self._keys = data[_HEAD.size : end].cast("Q")
        self._names = data[end:]

    def __call__(self, name: str) -> range:
        """A number for each symbol of that name: the addresses are not known, but two have two."""
        raw = name.encode("utf-8", "surrogateescape")
        wanted = raw + b"\0"
        return range(1, 1 + sum(self._names[at : at + len(wanted)] == wanted for at in self._places(raw)))

    def _places(self, name: bytes) -> Iterator[int]:
        from bisect import bisect_left

        first = crc32(name) << 32
        at = bisect_left(self._keys, first)
        while at < len(self._keys) and self._keys[at] >> 32 == first >> 32:
            yield self._keys[at] & 0xFFFFFFFF
            at += 1
