# SPDX-License-Identifier: Apache-2.0
"""What receive-side scaling is told: key, hash types, indirection table, and the queue for the rest."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import UsageError
from holdfast.rss.parity import pack_masks
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashType, TunnelType
from holdfast.rss.toeplitz import KEY_BYTES, pack_rows

__all__ = ["MAX_TABLE_LEN", "SLOTS", "RssConfig", "pack_active", "pack_state"]

MAX_TABLE_LEN = 512
SLOTS = 2
# struct rss_state of bundles/net/rss/state.h: active, 15 reserved words, then the slots
_STATE_HEAD = struct.Struct("=I60x")
# struct rss_config of bundles/net/rss/rss.h: active, 7 reserved words, then the slots
_HEAD = struct.Struct("=I28x")
_SETTINGS = struct.Struct("=IHHII")


def pack_state(active: int, slots: Sequence[bytes]) -> bytes:
    """Returns the 3008 bytes of ``struct rss_state``: the slot in use, and both slots."""
    return _STATE_HEAD.pack(active) + b"".join(slots)


def pack_active(slot: int, settings: Sequence[bytes]) -> bytes:
    """Returns the 64 bytes of ``struct rss_config``: the slot in use, and both slots' settings."""
    return _HEAD.pack(slot) + b"".join(settings)


@dataclass(frozen=True, slots=True)
class RssConfig:
    """One complete set of settings; checked when made, and never changed.

    ``key`` holds 40 bytes or more (VIRTIO_NET_RSS: rss_max_key_size is at least 40; no input looks at more
    than 40). ``table`` has a power of two of queue numbers, at most 512, as VIRTIO_NET_RSS demands; a packet
    takes entry ``hash & (len(table) - 1)``, which is ``hash % len(table)``. ``unclassified`` is the queue of
    packets that are not hashed. Queue numbers are 16 bits; the TAP takes them modulo its number of attached
    queues. ``tunnel_types`` are the encapsulations whose inner headers are hashed in place of the outer ones
    (VIRTIO_NET_F_HASH_TUNNEL).

    Raises :class:`~holdfast.errors.UsageError` that names the member and what it may be.
    """

    key: bytes
    types: HashType = ALL_TYPES
    table: tuple[int, ...] = (0,)
    unclassified: int = 0
    tunnel_types: TunnelType = TunnelType.NONE

    def __post_init__(self) -> None:
        # Accept any bytes and any sequence, keep what cannot change.
        object.__setattr__(self, "key", bytes(self.key))
        object.__setattr__(self, "table", tuple(self.table))
        if not KEY_BYTES <= len(self.key) <= 255:
            raise UsageError(f"RSS key has {len(self.key)} bytes", hint="give 40 to 255 bytes")
        # As numbers: the complement of a flag keeps only the bits that have names.
        if int(self.types) & ~int(ALL_TYPES):
            raise UsageError(
                f"RSS hash types 0x{self.types:x} name types that are not known", hint="use bits 0 to 8"
            )
        if int(self.tunnel_types) & ~int(ALL_TUNNELS):
            raise UsageError(
                f"RSS tunnel types 0x{self.tunnel_types:x} name types that are not known",
                hint="use bits 0 to 8",
            )
        length = len(self.table)
        if not 1 <= length <= MAX_TABLE_LEN or length & (length - 1):
            raise UsageError(
                f"RSS indirection table has {length} entries", hint="give a power of two, at most 512"
            )
        for index, queue in enumerate(self.table):
            if not 0 <= queue <= 0xFFFF:
                raise UsageError(
                    f"RSS indirection table: entry {index} is {queue}", hint="give queues 0 to 65535"
                )
        if not 0 <= self.unclassified <= 0xFFFF:
            raise UsageError(f"RSS unclassified queue is {self.unclassified}", hint="give a queue 0 to 65535")
        # Kept as the enum, so that a plain number prints by name.
        object.__setattr__(self, "types", HashType(self.types))
        object.__setattr__(self, "tunnel_types", TunnelType(self.tunnel_types))

    @classmethod
    def spread(
        cls, key: bytes, queues: int, *, types: HashType = ALL_TYPES, length: int = 128, unclassified: int = 0
    ) -> RssConfig:
        """Returns settings whose table of ``length`` entries names ``queues`` queues in turn: 0, 1, 2, ..."""
        if queues < 1:
            raise UsageError(f"RSS over {queues} queues", hint="give at least one queue")
        return cls(key, types, tuple(index % queues for index in range(length)), unclassified)

    @property
    def mask(self) -> int:
        """Returns what a hash is masked with to find its entry (indirection_table_mask)."""
        return len(self.table) - 1

    def queue_of(self, value: int) -> int:
        """Returns the queue of the hash ``value``."""
        return self.table[value & self.mask]

    def pack_settings(self) -> bytes:
        """Returns the 16 bytes of ``struct rss_settings``, with which ``struct rss_slot`` begins too."""
        return _SETTINGS.pack(self.types, self.mask, self.unclassified, self.tunnel_types, 0)

    def pack_slot(self) -> bytes:
        """Returns the 1472 bytes of ``struct rss_slot``: settings, key, masks of it, and queues."""
        start = self.pack_settings() + self.key[:KEY_BYTES] + bytes(8)
        return start + pack_masks(self.key) + self.pack_table()

    def pack_key(self) -> bytes:
        """Returns the 4648 bytes of ``struct rss_key``: the first 40 bytes of the key, and its table."""
        return self.key[:KEY_BYTES] + pack_rows(self.key)

    def pack_table(self) -> bytes:
        """Returns the 1024 bytes of ``struct rss_table``; entries behind the table's end are 0."""
        length = len(self.table)
        return struct.pack(f"={length}H{2 * (MAX_TABLE_LEN - length)}x", *self.table)
