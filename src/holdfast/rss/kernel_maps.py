# SPDX-License-Identifier: Apache-2.0
"""Where settings are written: the one map of net/rss, or the three of the bundles that report hashes.

Both are double-buffered: the slot that is not in use is filled, then its number is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from holdfast.rss.config import SLOTS, RssConfig, pack_active, pack_state
from holdfast.rss.terms import HashType
from holdfast.rss.toeplitz import KEY_BYTES

__all__ = ["ElementMap", "SettingsMaps", "StateMap", "ThreeMaps"]

_NOTHING = RssConfig(bytes(KEY_BYTES), HashType.NONE)


class ElementMap(Protocol):
    """What is needed of a map: :class:`holdfast.load.Map` has it, as has a mapping of one's own."""

    def update(self, key: int, value: bytes, /) -> object:
        """Writes an element."""


class SettingsMaps(Protocol):
    """Maps that take settings into one of two slots."""

    def write(self, active: int, slot: int, config: RssConfig) -> None:
        """Fills ``slot`` while ``active`` is in use, then makes it the one in use."""


class StateMap:
    """``rss_state`` of bundles/net/rss/state.h."""

    def __init__(self, map_of: Callable[[str], ElementMap]) -> None:
        """Raises what ``map_of`` raises for a name that it does not know."""
        self._map = map_of("rss_state")
        self._slots = [bytes(len(_NOTHING.pack_slot()))] * SLOTS

    def write(self, active: int, slot: int, config: RssConfig) -> None:
        """Fills ``slot``, then makes it the one in use."""
        self._slots[slot] = config.pack_slot()
        # Twice, because the kernel copies a value from its start on: `active` comes first in it, and
        # must name the new slot only when all of that is there. The other slot is written with what it holds.
        self._map.update(0, pack_state(active, self._slots))
        self._map.update(0, pack_state(slot, self._slots))


class ThreeMaps:
    """``rss_config``, ``rss_key`` and ``rss_table`` of bundles/net/rss/rss.h."""

    def __init__(self, map_of: Callable[[str], ElementMap]) -> None:
        """Raises what ``map_of`` raises for a name that it does not know."""
        self._config, self._key, self._table = map(map_of, ("rss_config", "rss_key", "rss_table"))
        self._settings = [_NOTHING.pack_settings()] * SLOTS

    def write(self, active: int, slot: int, config: RssConfig) -> None:
        """Fills ``slot`` of all three, then makes it the one in use."""
        self._key.update(slot, config.pack_key())
        self._table.update(slot, config.pack_table())
        self._settings[slot] = config.pack_settings()
        # Twice: as in StateMap.
        self._config.update(0, pack_active(active, self._settings))
        self._config.update(0, pack_active(slot, self._settings))
