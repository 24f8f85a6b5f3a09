# SPDX-License-Identifier: Apache-2.0
"""The hash of frames that nobody hashed before they were read: many at once by numpy, few one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Steering

if TYPE_CHECKING:
    from holdfast.rss.batch import Batch

__all__ = ["BatchHasher", "FrameHasher", "SteeringHasher"]

# As many frames take about as long one by one as at once (a few hundred us on a slow core).
_FEW: Final = 24


class FrameHasher(Protocol):
    """Hashes in user space what nobody hashed before."""

    def configure(self, config: RssConfig) -> None:
        """Takes new settings."""

    def hash_batch(self, frames: Sequence[bytes]) -> Sequence[tuple[int, int]]:
        """Returns (hash value, report type) of each frame; (0, 0) where it is not hashed."""


class SteeringHasher:
    """The fallback, frame by frame."""

    def __init__(self, config: RssConfig) -> None:
        self._steering = Steering(config)

    def configure(self, config: RssConfig) -> None:
        """Takes new settings."""
        self._steering.configure(config)

    def hash_batch(self, frames: Sequence[bytes]) -> Sequence[tuple[int, int]]:
        """Returns (hash value, report type) of each frame; (0, 0) where it is not hashed."""
        found = (self._steering.classify(frame) for frame in frames)
        return [(0, 0) if one.hash is None else (one.hash, one.type.report) for one in found]


class BatchHasher:
    """:class:`~holdfast.rss.batch.Batch` for many frames, the fallback for few, and where there is no numpy.

    The tables of a key are made when the first batch of many comes after a change of settings.
    """

    def __init__(self, config: RssConfig) -> None:
        self._one_by_one = SteeringHasher(config)
        self._config = config
        self._batch: Batch | None = None
        self._possible = True

    def configure(self, config: RssConfig) -> None:
        """Takes new settings."""
        self._one_by_one.configure(config)
        self._config, self._batch = config, None

    def hash_batch(self, frames: Sequence[bytes]) -> Sequence[tuple[int, int]]:
        """Returns (hash value, report type) of each frame; (0, 0) where it is not hashed."""
        batch = self._tables() if len(frames) >= _FEW else None
        if batch is None:
            return self._one_by_one.hash_batch(frames)
        values, reports = batch.classify(frames)
        return list(zip(values.tolist(), reports.tolist(), strict=True))

    def _tables(self) -> Batch | None:
        if self._batch is None and self._possible:
            from holdfast.rss.batch import Batch

            try:
                self._batch = Batch(self._config.key, self._config.types, self._config.tunnel_types)
            except ImportError:
                self._possible = False
        return self._batch
