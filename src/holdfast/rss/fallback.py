# SPDX-License-Identifier: Apache-2.0
"""Steering in user space: what an application does that has no BPF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.rss.config import RssConfig
from holdfast.rss.parse import hash_input
from holdfast.rss.terms import HashType, TunnelType
from holdfast.rss.toeplitz import KEY_BYTES, ByteTable

__all__ = ["Classified", "Steering"]


@dataclass(frozen=True, slots=True)
class Classified:
    """What a frame is: ``hash`` is None when it was not hashed (0 is a hash like any other)."""

    type: HashType
    hash: int | None
    queue: int


class Steering:
    """Hashes frames; takes the same settings as :class:`~holdfast.rss.kernel.KernelSteering`.

    Without settings nothing is hashed and every frame goes to queue 0, as with fresh maps.
    """

    def __init__(self, config: RssConfig | None = None) -> None:
        self.configure(config or RssConfig(bytes(KEY_BYTES), HashType.NONE))

    @property
    def config(self) -> RssConfig:
        """Returns the settings in use."""
        return self._config

    def configure(self, config: RssConfig) -> None:
        """Takes new settings, all at once."""
        self._config = config
        self._table = ByteTable(config.key)

    def set_key(self, key: bytes) -> None:
        """Changes the key (40 bytes or more); raises :class:`~holdfast.errors.UsageError`."""
        self.configure(replace(self._config, key=key))

    def set_types(self, types: HashType) -> None:
        """Changes which types of packets are hashed."""
        self.configure(replace(self._config, types=types))

    def set_tunnel_types(self, tunnel_types: TunnelType) -> None:
        """Changes which encapsulations are hashed by their inner headers."""
        self.configure(replace(self._config, tunnel_types=tunnel_types))

    def set_table(self, table: Sequence[int], *, unclassified: int | None = None) -> None:
        """Changes the indirection table, and the queue for the rest if one is given."""
        rest = self._config.unclassified if unclassified is None else unclassified
        self.configure(replace(self._config, table=tuple(table), unclassified=rest))

    def classify(self, frame: bytes) -> Classified:
        """Returns type, hash and queue of an Ethernet frame, MAC header included. Any bytes are a frame."""
        config = self._config
        kind, data = hash_input(frame, config.types, config.tunnel_types)
        if not kind:
            return Classified(kind, None, config.unclassified)
        value = self._table.hash(data)
        return Classified(kind, value, config.queue_of(value))
