# SPDX-License-Identifier: Apache-2.0
"""The order of kernels: version, series, the longterm ones, and which builds are one line of descent.

Versions order kernels here and measure how long something lasted. No verdict is inferred from one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from holdfast.kernels.facts import KernelFacts

__all__ = [
    "LONGTERM",
    "Series",
    "by_version",
    "flavour",
    "parse_series",
    "series_name",
    "series_of",
    "version_of",
]

Series: TypeAlias = tuple[int, int]
"""Major and minor number of an upstream release: ``(6, 12)``."""

LONGTERM: Final[frozenset[Series]] = frozenset(
    {(4, 14), (4, 19), (5, 4), (5, 10), (5, 15), (6, 1), (6, 6), (6, 12), (6, 18)}
)
"""Series that kernel.org maintains as "longterm". Add each when it is declared one, usually in December."""

_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:-?rc(\d+))?")
_FLAVOUR: Final = re.compile(r"-((?:[a-z][a-z0-9]*-)*[a-z][a-z0-9_]*)$")
_FINAL: Final = 1 << 16  # sorts after every release candidate


def version_of(facts: KernelFacts) -> tuple[int, int, int, int]:
    """Major, minor and patch level of the upstream release a kernel is made from, then its release candidate
    (65536 for none); all 0 where neither ``upstream`` nor ``release`` begins with numbers.
    """
    found = _NUMBERS.match(facts.upstream) or _NUMBERS.match(facts.release)
    if not found:
        return (0, 0, 0, 0)
    major, minor, patch, candidate = (int(group or 0) for group in found.groups())
    return major, minor, patch, candidate or _FINAL


def series_of(facts: KernelFacts) -> Series:
    """Major and minor number of the upstream release; ``(0, 0)`` where it is not known."""
    return version_of(facts)[:2]


def series_name(series: Series) -> str:
    """``6.12``; ``?`` for a series that is not known."""
    return f"{series[0]}.{series[1]}" if any(series) else "?"


def parse_series(text: str) -> Series | None:
    """The series in ``6.12`` or ``v6.12.3``; None for anything else."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.\d+)?", text.strip())
    return (int(found[1]), int(found[2])) if found else None


def flavour(facts: KernelFacts) -> str:
    """What sets builds of one series apart that are made side by side: ``cloud-amd64`` of
    ``6.12.107+deb13-cloud-amd64``; the architecture where the release names none.

    Only builds of one flavour are compared with their predecessors: what differs between flavours is the
    configuration, not the passing of time.
    """
    found = _FLAVOUR.search(facts.release)
    name = re.sub(r"^rc\d+-?", "", found[1]) if found else ""
    return name or facts.arch or "unknown"


def by_version(kernels: Iterable[KernelFacts]) -> list[KernelFacts]:
    """The kernels, oldest first; those of one version by id."""
    return sorted(kernels, key=lambda facts: (version_of(facts), facts.id))
