# SPDX-License-Identifier: Apache-2.0
"""Verdicts that were worked out on one kernel and hold on others that answer the same questions alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.predict.questions import Questions, Trail

__all__ = ["Entry", "Memory"]

_MOST: Final = 64  # findings of one key; kernels differ in fewer ways than there are kernels


@dataclass(frozen=True, slots=True)
class Entry:
    """What was found, the questions that it rests on, and, for a program, the displacements of its accesses
    to the context that relocation gave it.
    """

    found: Any
    trail: Trail
    slots: tuple[int, ...] = ()
    offsets: tuple[int | None, ...] = ()


@dataclass(slots=True)
class Memory:
    """What one object's programs are found to be, by object; shared by the predictors of several kernels.

    It grows with every object: :meth:`forget` those that are done with. Not for use from several threads at
    once.
    """

    _entries: dict[str, dict[Hashable, list[Entry]]] = field(default_factory=dict)
    _shapes: dict[str, dict[Hashable, dict[Hashable, Any]]] = field(default_factory=dict)

    def held(self, sha256: str, key: Hashable, facts: Questions) -> Iterator[Entry]:
        """What was found under ``key`` on kernels that answer as this one does, so far as was asked."""
        for entry in self._entries.get(sha256, {}).get(key, ()):
            if facts.agree(entry.trail):
                yield entry

    def hold(self, sha256: str, key: Hashable, entry: Entry) -> None:
        """Remember a finding."""
        kept = self._entries.setdefault(sha256, {}).setdefault(key, [])
        if len(kept) < _MOST:
            kept.append(entry)

    def shape(self, sha256: str, key: Hashable) -> dict[Hashable, Any]:
        """A place to keep what holds whatever the kernel says, given ``key``."""
        return self._shapes.setdefault(sha256, {}).setdefault(key, {})

    def forget(self, sha256: str) -> None:
        """Drop what is remembered of an object."""
        self._entries.pop(sha256, None)
        self._shapes.pop(sha256, None)
