# SPDX-License-Identifier: Apache-2.0
"""A kernel's ``.config``, and the copy that CONFIG_IKCONFIG embeds in its image."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

__all__ = ["LazyConfig", "embedded", "gunzip", "parse"]

_START: Final = b"IKCFG_ST"
_END: Final = b"IKCFG_ED"
_MOST_MARKS: Final = 64  # looked at in one image, which has one; what is behind them may have 8 MB each
_LIMIT: Final = 8 << 20  # bytes; the largest distribution configs have 0.3 MB


class _Searchable(Protocol):
    def find(self, what: bytes, start: int = 0, /) -> int: ...

    def __getitem__(self, where: slice, /) -> bytes: ...


def parse(text: str) -> dict[str, str]:
    """Options that are set, ``CONFIG_X`` to ``y``, ``m``, a number, or a string without its quotes."""
    options = {}
    for line in text.splitlines():
        if line.startswith("CONFIG_"):
            key, separator, value = line.partition("=")
            if separator:
                options[key] = _unquote(value) if value.startswith('"') else value
    return options


def _unquote(value: str) -> str:
    # scripts/kconfig escapes the quote and the backslash alone.
    inner = value[1:-1] if len(value) > 1 and value.endswith('"') else value[1:]
    return inner.replace('\\"', '"').replace("\\\\", "\\")


def gunzip(data: bytes) -> str:
    """The text of a gzip stream. Raises :exc:`ValueError` for one that is damaged or far too long."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        text = inflate.decompress(data, _LIMIT)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not inflate.eof:
        raise ValueError(f"it is cut off or longer than {_LIMIT} bytes")
    return text.decode("utf-8", "replace")


def embedded(image: _Searchable) -> dict[str, str] | None:
    """The config between the marks of kernel/configs.c in an image; None when there is none."""
    at = image.find(_START)
    for _ in range(_MOST_MARKS):
        if at < 0:
            break
        end = image.find(_END, at)
        if end < 0:
            return None
        if end - at <= _LIMIT:
            try:
                return parse(gunzip(image[at + len(_START) : end]))
            except ValueError:
                pass  # the mark as part of something else: look on
        at = image.find(_START, at + 1)
    return None


class LazyConfig(Mapping[str, str]):
    """A config that is read when it is first asked for anything."""

    def __init__(self, read: Callable[[], dict[str, str]]) -> None:
        self._read = read
        self._options: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._options is None:
            self._options = self._read()
        return self._options

    def __getitem__(self, key: str) -> str:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
