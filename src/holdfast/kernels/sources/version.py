# SPDX-License-Identifier: Apache-2.0
"""The order of Debian's version numbers: Debian Policy, section 5.6.12 (``~`` before even the end)."""

from __future__ import annotations

import re

__all__ = ["sort_key"]

_DIGITS = re.compile(r"(\D*)(\d*)")


def sort_key(version: str) -> tuple[object, ...]:
    """Return a key that sorts versions as dpkg does."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return int(epoch) if epoch.isdecimal() else 0, _part(upstream), _part(revision)


def _part(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Words and numbers in turns. A word's characters: ``~`` -1, the end 0, letters, then all others."""
    found = [
        ((*(_weight(character) for character in word), 0), int(number or 0))
        for word, number in _DIGITS.findall(text)
        if word or number
    ]
    return (*found, ((0,), 0))


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
