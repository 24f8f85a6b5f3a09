# SPDX-License-Identifier: Apache-2.0
"""Steering in the kernel: the settings of a loaded bundle that steers, in its maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.errors import UsageError
from holdfast.rss.config import RssConfig
from holdfast.rss.grace import wait_for_readers
from holdfast.rss.kernel_maps import ElementMap, SettingsMaps, StateMap, ThreeMaps
from holdfast.rss.terms import HashType, TunnelType

__all__ = ["ElementMap", "KernelSteering"]


class KernelSteering:
    """Writes settings into the maps; the program's packets see all of a change or nothing of it.

    Neither the program's descriptor nor the maps are owned: whoever loaded them keeps them open. It must
    be the only writer of these maps. Without settings nothing is hashed and every frame goes to queue 0.
    """

    def __init__(
        self,
        map_of: Callable[[str], ElementMap],
        program_fd: int,
        *,
        supported_tunnel_types: TunnelType = TunnelType.NONE,
    ) -> None:
        """``map_of`` gives a map by its name: pass ``outcome.map`` or ``object.map``.

        ``supported_tunnel_types`` are those that the program can look into: ``ALL_TUNNELS`` for the bundle
        net/rss-tunnel, none for net/rss, whose map looks the same. The bundles that report hashes
        (net/rss-report) have other maps, which are recognised by their names.

        Raises what ``map_of`` raises where there are neither.
        """
        self.program_fd = program_fd
        self.supported_tunnel_types = supported_tunnel_types
        self._maps = _maps(map_of)
        self._active = 0
        self._reused = False
        self._config: RssConfig | None = None

    @property
    def config(self) -> RssConfig:
        """Returns the settings in use. Raises :class:`~holdfast.errors.UsageError` before there are any."""
        if self._config is None:
            raise UsageError("RSS has no settings yet", hint="call configure() first")
        return self._config

    def configure(self, config: RssConfig) -> None:
        """Takes new settings, all at once: in force for every packet that comes after the return.

        Raises :class:`~holdfast.errors.UsageError` for tunnel types that the program does not support.
        """
        if beyond := config.tunnel_types & ~self.supported_tunnel_types:
            raise UsageError(
                f"this program does not hash inside tunnels: {beyond!r}",
                hint="load the bundle net/rss-tunnel, or enable no tunnel types",
            )
        if self._reused:
            # The slot to fill was in use until the last change.
            wait_for_readers()
        slot = 1 - self._active
        self._maps.write(self._active, slot, config)
        self._active, self._reused, self._config = slot, True, config

    def set_key(self, key: bytes) -> None:
        """Changes the key (40 bytes or more); raises :class:`~holdfast.errors.UsageError`."""
        self.configure(replace(self.config, key=key))

    def set_types(self, types: HashType) -> None:
        """Changes which types of packets are hashed."""
        self.configure(replace(self.config, types=types))

    def set_tunnel_types(self, tunnel_types: TunnelType) -> None:
        """Changes which encapsulations are hashed by their inner headers."""
        self.configure(replace(self.config, tunnel_types=tunnel_types))

    def set_table(self, table: Sequence[int], *, unclassified: int | None = None) -> None:
        """Changes the indirection table, and the queue for the rest if one is given."""
        rest = self.config.unclassified if unclassified is None else unclassified
        self.configure(replace(self.config, table=tuple(table), unclassified=rest))


def _maps(map_of: Callable[[str], ElementMap]) -> SettingsMaps:
    try:
        return StateMap(map_of)
    except UsageError as error:
        try:
            return ThreeMaps(map_of)
        except UsageError:
            raise error from None
