# SPDX-License-Identifier: Apache-2.0
"""Columns of numbers as bytes that compress well."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from holdfast.kernels.catalogue.parts import DamagedError

__all__ = ["Numbers", "mixed", "planes", "sequence", "signed", "unplanes", "unsequence"]

Numbers = NDArray[np.int64]

_LIMIT: Final = 1 << 31


def planes(values: Numbers) -> bytes:
    """32-bit numbers, all lowest bytes first, then the next: neighbours differ in the lowest alone."""
    words = np.ascontiguousarray(values.astype("<u4"))
    return words.view(np.uint8).reshape(-1, 4).T.tobytes()


def unplanes(data: bytes) -> Numbers:
    """What :func:`planes` was given, as unsigned numbers."""
    if len(data) % 4:
        raise DamagedError("a column is cut off")
    found = np.frombuffer(data, np.uint8).reshape(4, -1)
    values: Numbers = found[0].astype(np.int64)
    for at in range(1, 4):
        if found[at].any():  # most are small
            values |= found[at].astype(np.int64) << (8 * at)
    return values


def signed(values: Numbers) -> Numbers:
    """Numbers that came back unsigned, as the signed ones that they were."""
    return np.where(values >= _LIMIT, values - 2 * _LIMIT, values)


def sequence(ids: Numbers, like: Numbers) -> bytes:
    """A list of ids by what it has in common with another: mostly runs of the same ids in the same order."""
    rank = _ranks(like, int(ids.max(initial=0)))
    at = rank[ids]
    at = np.where(at >= 0, at, len(like) + ids)
    return planes(np.diff(at, prepend=-1) - 1)


def unsequence(data: bytes, like: Numbers) -> Numbers:
    """What :func:`sequence` was given."""
    at = np.cumsum(signed(unplanes(data)) + 1) - 1
    if len(at) and int(at.min()) < 0:
        raise DamagedError("a sequence leads before its beginning")
    known = at < len(like)
    ids = at - len(like)
    ids[known] = like[at[known]]
    return ids


def _ranks(like: Numbers, most: int) -> Numbers:
    """Where each id comes first in ``like``, -1 where nowhere; by id, up to ``most`` at least."""
    rank = np.full(max(most, int(like.max(initial=0))) + 1, -1, np.int64)
    rank[like[::-1]] = np.arange(len(like) - 1, -1, -1)
    return rank


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits that look like chance, equal for equal numbers (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
