# SPDX-License-Identifier: Apache-2.0
"""What a bundle's own proof says: whether a variant that was loaded does its job, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Count", "Proved"]


@dataclass(frozen=True, slots=True)
class Count:
    """One thing that was tried ``of`` times and came out ``right`` as often; ``what`` names it for people."""

    what: str
    right: int
    of: int

    @property
    def line(self) -> str:
        """Returns it as people read it: ``24 of 24 frames of the published vectors``."""
        return f"{self.right} of {self.of} {self.what}"


@dataclass(frozen=True, slots=True)
class Proved:
    """What the function that ``[proof]`` of a manifest names returns.

    ``counts`` is what was tried; ``wrong`` has a line for some of what went wrong. ``cannot`` says why
    nothing could be tried here (a device that this kernel does not have), and is empty else. ``details`` are
    for programs: of None, bool, int, float, str, lists, and dicts with string keys.
    """

    counts: tuple[Count, ...] = ()
    wrong: tuple[str, ...] = ()
    cannot: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def works(self) -> bool | None:
        """Returns whether all came out right; None where nothing was tried, which proves nothing."""
        if self.cannot or not any(one.of for one in self.counts):
            return None
        return all(one.right == one.of for one in self.counts)

    @property
    def line(self) -> str:
        """Returns all of it in one line."""
        if self.works is None:
            return f"not proven: {self.cannot or 'nothing was tried'}"
        told = ", ".join(one.line for one in self.counts)
        return f"{told}; {self.wrong[0]}" if self.wrong else told

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return {
            "works": self.works,
            "counts": [{"what": one.what, "right": one.right, "of": one.of} for one in self.counts],
            "wrong": list(self.wrong),
            "cannot": self.cannot or None,
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Proved:
        """Returns what :meth:`to_dict` was made from. Raises KeyError, TypeError or ValueError."""
        counts = tuple(Count(str(one["what"]), int(one["right"]), int(one["of"])) for one in row["counts"])
        wrong = tuple(str(one) for one in row["wrong"])
        return cls(counts, wrong, str(row["cannot"] or ""), dict(row["details"]))
