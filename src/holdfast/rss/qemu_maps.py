# SPDX-License-Identifier: Apache-2.0
"""The maps of the bundle net/rss-qemu, laid out as QEMU writes them, and written as QEMU does.

QEMU alone writes them where it runs. This is for proofs, for tests, and for a VMM that takes QEMU's four
descriptors. Layouts: ``bundles/net/rss-qemu/rss_qemu.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from holdfast.errors import InterfaceMismatchError, UsageError
from holdfast.rss.config import RssConfig
from holdfast.rss.kernel import ElementMap
from holdfast.rss.toeplitz import KEY_BYTES
from holdfast.terms import MapFlag, MapType

__all__ = [
    "MAPS",
    "TABLE_LEN",
    "Loaded",
    "QemuMap",
    "QemuSteering",
    "descriptors",
    "pack_config",
    "pack_key",
    "unpack_key",
]

TABLE_LEN: Final = 128
"""Most entries of the indirection table (VIRTIO_NET_RSS_MAX_TABLE_LEN of QEMU)."""

_CONFIG: Final = struct.Struct("=BBIHH")


@dataclass(frozen=True, slots=True)
class QemuMap:
    """The shape of one of the maps: sizes in bytes; all are ARRAY maps with BPF_F_MMAPABLE."""

    name: str
    value_size: int
    max_entries: int


MAPS: Final = (
    QemuMap("qemu_config", _CONFIG.size, 1),
    QemuMap("qemu_key", KEY_BYTES, 1),
    QemuMap("qemu_table", 2, TABLE_LEN),
)
"""In the order of QEMU's property ``ebpf-rss-fds``, where the program comes first."""


class Loaded(Protocol):
    """A loaded variant of the bundle; :class:`holdfast.load.Outcome` and ``Object`` are."""

    def program(self, name: str, /) -> Any:
        """Returns a program, which has ``fd``."""

    def map(self, name: str, /) -> Any:
        """Returns a map, which has ``fd``, ``type``, ``flags``, sizes and ``max_entries``."""


def descriptors(loaded: Loaded) -> tuple[int, int, int, int]:
    """Returns the four descriptors in QEMU's order: program, configuration, key, indirection table.

    They stay the owner's. QEMU takes maps in the wrong order or of the wrong size without a word and steers
    by what it finds, so this raises :class:`~holdfast.errors.InterfaceMismatchError` instead.
    """
    found = []
    for wanted in MAPS:
        one = loaded.map(wanted.name)
        shape = (one.type, one.key_size, one.value_size, one.max_entries)
        if shape != (MapType.ARRAY, 4, wanted.value_size, wanted.max_entries) or not (
            one.flags & MapFlag.MMAPABLE
        ):
            raise InterfaceMismatchError(
                f"map {wanted.name!r} is not QEMU's: it must be an ARRAY with BPF_F_MMAPABLE, "
                f"{wanted.max_entries} values of {wanted.value_size} bytes",
                hint="use a bundle with the interface of net/rss-qemu 1",
            )
        found.append(one.fd)
    config, key, table = found
    return loaded.program("steer").fd, config, key, table


def pack_config(config: RssConfig, *, redirect: bool = True) -> bytes:
    """Returns the 10 bytes of ``struct qemu_config``. ``redirect`` False is a guest that has no RSS on."""
    return _CONFIG.pack(redirect, 0, config.types, len(config.table), config.unclassified)


def pack_key(key: bytes) -> bytes:
    """Returns the 40 bytes of ``struct qemu_key``: the first four are a number in host order."""
    return struct.pack("=I", int.from_bytes(key[:4], "big")) + key[4:KEY_BYTES]


def unpack_key(value: bytes) -> bytes:
    """Returns the key (40 bytes) that :func:`pack_key` was given."""
    return int(struct.unpack_from("=I", value)[0]).to_bytes(4, "big") + value[4:KEY_BYTES]


class QemuSteering:
    """Writes settings as QEMU does: configuration, then table, then key, and no word to the program.

    A packet in between sees some of the new and some of the old: one configuration, one entry, one key, each
    whole. After :meth:`configure` all packets see the new. Descriptors stay their owner's.
    """

    def __init__(self, map_of: Callable[[str], ElementMap], program_fd: int) -> None:
        """``map_of`` gives a map by its name: pass ``outcome.map`` or ``object.map``."""
        self.program_fd = program_fd
        self._config, self._key, self._table = (map_of(one.name) for one in MAPS)

    def configure(self, config: RssConfig) -> None:
        """Takes new settings. Raises :class:`~holdfast.errors.UsageError` for more than 128 entries."""
        if len(config.table) > TABLE_LEN:
            raise UsageError(
                f"an indirection table of {len(config.table)} entries", hint=f"QEMU's has {TABLE_LEN}"
            )
        self._config.update(0, pack_config(config))
        for index, queue in enumerate(config.table):
            self._table.update(index, struct.pack("=H", queue))
        self._key.update(0, pack_key(config.key))
