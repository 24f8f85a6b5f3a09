# SPDX-License-Identifier: Apache-2.0
"""A part of a kernel: lists of numbers, told by their difference to another kernel's, and other data.

A chain is the blob of the part and those of the kernels that it is told by, nearest first; the last stands
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from holdfast.kernels.catalogue.numbers import Numbers, sequence, unsequence
from holdfast.kernels.catalogue.parts import QUICK, Parts, pack

__all__ = ["LISTS", "Lists", "Part", "read", "write"]

Lists = Mapping[str, Numbers]
"""Lists of numbers by name."""

LISTS: Mapping[str, tuple[str, ...]] = {
    "vmlinux": ("strings", "types"),
    "modules": ("strings", "types"),
    "symbols": tuple(f"prefix{number}" for number in range(8)),
    "texts": ("config", "modules", "builtin"),
}
"""The lists of each part, by name."""

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Part:
    """Lists of numbers by name, and data by name."""

    lists: Lists
    data: Mapping[str, bytes] = field(default_factory=dict)


def write(name: str, part: Part, like: Part | None, level: int = QUICK) -> bytes:
    """The blob of a part, compressed at this level; ``like`` is that of the kernel whose chain it goes on."""
    lists = {
        one: sequence(part.lists[one], _NONE if like is None else like.lists[one]) for one in LISTS[name]
    }
    return pack(name, {**lists, **{f"+{key}": value for key, value in part.data.items()}}, level)


def read(
    name: str,
    chain: Sequence[str],
    get: Callable[[str], bytes],
    data: Sequence[str] = (),
    known: MutableMapping[str, Lists] | None = None,
) -> Part:
    """The part at the head of a chain, with that data of it. Raises :exc:`DamagedError`.

    Lists of blobs that are in ``known`` are taken from there, others are put in.
    """
    known = {} if known is None else known
    start = next((at for at, blob in enumerate(chain) if blob in known), len(chain))
    lists: Lists = dict(known[chain[start]]) if start < len(chain) else dict.fromkeys(LISTS[name], _NONE)
    for blob in reversed(chain[:start]):
        parts = Parts(get(blob), name)
        lists = {one: unsequence(parts[one], lists[one]) for one in LISTS[name]}
        known[blob] = lists
    if not data:
        return Part(lists)
    parts = Parts(get(chain[0]), name)
    return Part(lists, {key: parts[f"+{key}"] for key in data})
