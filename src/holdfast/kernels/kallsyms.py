# SPDX-License-Identifier: Apache-2.0
"""The symbol names that CONFIG_KALLSYMS puts into a kernel image, compressed, beside ``.BTF``.

scripts/kallsyms.c writes, each aligned to 8 bytes (4 in 7.2) and in this order: ``kallsyms_num_syms`` (u32),
``kallsyms_names``, ``kallsyms_markers`` (u32 for each 256th symbol: its offset in names), in 6.1
``kallsyms_seqs_of_names``, ``kallsyms_token_table`` (256 strings) and ``kallsyms_token_index`` (u16[256]:
their offsets); read in Debian's 5.10, 6.1, 6.12, 6.18 and 7.2 images. A name is its length (two bytes of 7
bits where it is 128 or more, 6.1) and that many tokens; the first character of the text is the symbol's type.
Nothing in a stripped image says where the tables are, so they are found by their form and believed only where
all agree.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Final

__all__ = ["ImageSymbols", "SymbolText", "names"]

_DIGITS: Final = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00"  # tokens 48 to 57 stand for themselves
_MOST_TABLES: Final = 64  # places that may be the table of tokens; an image has one or two
_STRIDE: Final = 256  # symbols per marker
_SHORTEST_RUN: Final = 16  # markers; a kernel of 4096 symbols has as many
_ROOM: Final = 4 << 20  # bytes before the tokens in which markers are looked for; 3 per symbol are others
_LONGEST: Final = 512  # bytes of a compressed name, KSYM_NAME_LEN
_MOST_TEXT: Final = 1 << 30  # bytes of the names if each token were the longest; in kernels 100 MB
_TABLE: Final = 1 << 14  # bytes around the digits in which the table of 256 tokens lies


class ImageSymbols:
    """The symbols of an image, by its read-only data (``.rodata``); looked for and expanded when first asked,
    in a few tenths of a second.
    """

    def __init__(self, rodata: bytes) -> None:
        self._rodata = rodata
        self._text: str | None = None

    def __call__(self, name: str) -> Collection[int] | None:
        """A number for each symbol of that name, as :data:`holdfast.kernels.facts.Kallsyms` wants; None where
        the image has no such tables.

        Addresses are not read, so two symbols of one name are taken to be at two.
        """
        if self._text is None:
            self._text = names(self._rodata) or ""
            self._rodata = b""
        if not self._text:
            return None
        return SymbolText(self._text)(name)


class SymbolText:
    """The symbols in a text as :func:`names` gives it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, name: str) -> Collection[int]:
        """A number for each symbol of that name, as :class:`ImageSymbols` does."""
        wanted = f"{name}\n"
        found = 0
        at = self._text.find(wanted)
        while at >= 0:
            found += self._text[at - 2] == "\n"  # the type's letter is between
            at = self._text.find(wanted, at + 1)
        return range(1, 1 + found)


def names(image: bytes) -> str | None:
    """All symbols in an image's read-only data, a newline before each and after the last, each the letter of
    its type and its name; None where no such tables are found.
    """
    at = image.find(_DIGITS)
    for _ in range(_MOST_TABLES):
        if at < 0:
            break
        found = _tables(image, at)
        if found is not None:
            return found
        at = image.find(_DIGITS, at + 1)
    return None


def _tables(image: bytes, digits: int) -> str | None:
    before = image[max(0, digits - _TABLE) : digits]
    start = len(before)
    for _ in range(ord("0")):
        start = before.rfind(b"\0", 0, start - 1) + 1
        if start <= 0:
            return None
    low = digits - len(before) + start
    # The word before the table need not end with a zero, so its last bytes may seem to begin the first token.
    for first in range(_aligned(low, 4), image.find(b"\0", low), 4):
        found = _at(image, first)
        if found is not None:
            return found
    return None


def _at(image: bytes, first: int) -> str | None:
    """The names, if a table of tokens begins at ``first``."""
    tokens = tuple(image[first : first + _TABLE].split(b"\0")[:256])
    if len(tokens) != 256:
        return None
    offsets = [0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token) + 1)
    end = first + offsets.pop()
    if offsets[-1] > 0xFFFF:
        return None
    for order in "<>":
        index = struct.pack(f"{order}256H", *offsets)
        if any(image[at : at + len(index)] == index for at in (_aligned(end, 8), _aligned(end, 4))):
            return _compressed(image, first, tokens, order)
    return None


def _aligned(at: int, size: int) -> int:
    return (at + size - 1) & -size


def _compressed(image: bytes, table: int, tokens: tuple[bytes, ...], order: str) -> str | None:
    room = image[max(0, table - _ROOM) : table]
    room = room[len(room) % 4 :]
    words = struct.unpack(f"{order}{len(room) // 4}I", room)
    for first, beyond in _runs(words):
        start = table - len(room) + 4 * first
        run = words[first:beyond]
        # What follows the markers may seem to go on with them for a word or two; after the last marker there
        # are 1 to 256 names more.
        for at in range(start - run[-3], start - run[-1] - _STRIDE * _LONGEST, -1):
            if at % 4 == 0 and at >= 8:
                for number in (image[at - 4 : at], image[at - 8 : at - 4]):
                    (count,) = struct.unpack(order + "I", number)
                    if 0 <= len(run) - -(-count // _STRIDE) < 3 and _agree(image[at:start], run, count):
                        return _expand(image[at:start], tokens, count)
    return None


def _runs(words: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(first, beyond) of the runs that begin with 0 and grow by the size of 256 names, the last run first."""
    at = len(words)
    while at > 0:
        beyond = at
        at -= 1
        while at > 0 and _STRIDE < words[at] - words[at - 1] < _STRIDE * _LONGEST:
            at -= 1
        if words[at] == 0 and beyond - at >= _SHORTEST_RUN:
            yield at, beyond


def _agree(packed: bytes, markers: tuple[int, ...], count: int) -> bool:
    whole, rest = divmod(count, _STRIDE)
    last = whole if rest else whole - 1
    if _place(packed, 0, _STRIDE) != markers[1]:
        return False
    end = _place(packed, markers[last], count - _STRIDE * last)
    return 0 <= len(packed) - end < 8 and end > 0


def _place(packed: bytes, at: int, count: int) -> int:
    """Where the names are ``count`` symbols after ``at``; -1 past the end."""
    for _ in range(count):
        if at + 1 >= len(packed):
            return -1
        size = packed[at]
        at += 1
        if size & 0x80:
            size = size & 0x7F | packed[at] << 7
            at += 1
        at += size
    return at if at <= len(packed) else -1


def _expand(packed: bytes, tokens: tuple[bytes, ...], count: int) -> str | None:
    """All names, each after its type's letter, on lines of their own; None where they are too many."""
    if len(packed) * max(map(len, tokens)) > _MOST_TEXT:
        return None
    text = packed.decode("latin-1")
    pieces = [""]
    at = 0
    for _ in range(count):
        if at + 1 >= len(packed):
            return None  # the first and the last names were where the markers say, and those between are not
        size = packed[at]
        at += 1
        if size & 0x80:
            size = size & 0x7F | packed[at] << 7
            at += 1
        pieces.append(text[at : at + size])
        at += size
    pieces.append("")
    # A token is a character up to 255; the one beyond them stands between names.
    table = {number: token.decode("latin-1") for number, token in enumerate(tokens)}
    table[256] = "\n"
    return "\u0100".join(pieces).translate(table)
