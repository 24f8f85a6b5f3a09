# SPDX-License-Identifier: Apache-2.0
"""Maps in the kernel: read and write elements, freeze, map into memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from holdfast import sys as kernel
from holdfast.errors import UsageError
from holdfast.load.failure import failed_call
from holdfast.terms import MapFlag, MapType

if TYPE_CHECKING:
    from mmap import mmap

    from holdfast.load.link import Link

__all__ = ["Map"]

_KEYLESS = frozenset({MapType.QUEUE, MapType.STACK, MapType.BLOOM_FILTER})


class Map:
    """One map. Sizes are bytes; keys and values are bytes of exactly the map's sizes, in the machine's byte
    order.

    The descriptor belongs to the :class:`Object`; :meth:`duplicate_fd` gives one that outlives it.
    """

    __slots__ = ("_attach", "_fd", "_info", "name")

    def __init__(self, name: str, fd: Callable[[], int], attach: Callable[[], Link] | None = None) -> None:
        self.name = name
        self._fd = fd
        self._attach = attach
        self._info = kernel.map_info(fd())

    @property
    def fd(self) -> int:
        """Returns the descriptor. Raises :class:`UsageError` once the object is closed."""
        return self._fd()

    @property
    def id(self) -> int:
        return self._info.id

    @property
    def type(self) -> MapType | int:
        """Returns the type; a bare number for one that this release does not know."""
        try:
            return MapType(self._info.type)
        except ValueError:
            return self._info.type

    @property
    def key_size(self) -> int:
        return self._info.key_size

    @property
    def value_size(self) -> int:
        return self._info.value_size

    @property
    def max_entries(self) -> int:
        return self._info.max_entries

    @property
    def flags(self) -> MapFlag:
        return MapFlag(self._info.flags)

    @property
    def info(self) -> kernel.MapInfo:
        """Returns everything that the kernel told of the map when it was opened here."""
        return self._info

    def duplicate_fd(self) -> kernel.OwnedFd:
        """Returns a descriptor of the caller's own, which keeps the map alive."""
        return kernel.OwnedFd.duplicate(self.fd)

    def lookup(self, key: bytes | int, *, flags: int = 0) -> bytes | None:
        """Returns the value, or None without such a key. An array-of-maps gives the inner map's id (4 bytes).

        Raises :class:`UsageError` for a per-CPU map (use :meth:`lookup_per_cpu`) and a key of the wrong size.
        """
        if kernel.is_per_cpu(self._info.type):
            raise UsageError(f"map {self.name!r} holds one value per CPU: use lookup_per_cpu")
        return self._lookup(self._key(key), flags)

    def lookup_per_cpu(self, key: bytes | int) -> list[bytes] | None:
        """Returns the value of each possible CPU, ``value_size`` bytes each, or None without such a key."""
        if not kernel.is_per_cpu(self._info.type):
            raise UsageError(f"map {self.name!r} holds one value for all CPUs: use lookup")
        found = self._lookup(self._key(key), 0)
        return None if found is None else self._split(found)

    def update(self, key: bytes | int | None, value: bytes | Sequence[bytes], *, flags: int = 0) -> None:
        """Writes a value. On a per-CPU map one value goes to every CPU, a sequence gives each possible CPU
        its own.

        ``key`` is None for queues, stacks and bloom filters. Raises :class:`UsageError` for wrong sizes,
        :class:`LibbpfError` when the kernel refuses (the hint says so when the map is full).
        """
        content = self._value(value)
        name = None if self._info.type in _KEYLESS else self._key(key)
        try:
            kernel.map_update(self.fd, name, content, flags=flags)
        except OSError as error:
            raise failed_call(f"map {self.name!r}: update", error) from None

    def delete(self, key: bytes | int) -> bool:
        """Returns whether there was such a key; it is gone now."""
        try:
            return kernel.map_delete(self.fd, self._key(key))
        except OSError as error:
            raise failed_call(f"map {self.name!r}: delete", error) from None

    def keys(self) -> Iterator[bytes]:
        """Yields the keys, at most ``max_entries`` of them: the kernel starts over when the last one was
        deleted.
        """
        key: bytes | None = None
        for _ in range(self.max_entries):
            try:
                key = kernel.map_next_key(self.fd, key, self.key_size)
            except OSError as error:
                raise failed_call(f"map {self.name!r}: iterating", error) from None
            if key is None:
                return
            yield key

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yields (key, value); what vanishes meanwhile is left out. Per-CPU values: see
        :meth:`items_per_cpu`.
        """
        for key in self.keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def items_per_cpu(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Yields (key, values of each possible CPU)."""
        for key in self.keys():
            values = self.lookup_per_cpu(key)
            if values is not None:
                yield key, values

    def freeze(self) -> None:
        """Forbids user space to write the map from now on."""
        try:
            kernel.map_freeze(self.fd)
        except OSError as error:
            raise failed_call(f"map {self.name!r}: freeze", error) from None

    def mmap(self, *, writable: bool = True) -> mmap:
        """Returns the values of an ARRAY map with BPF_F_MMAPABLE as memory, for the caller to close.

        Value ``i`` begins at byte ``i * value_stride(value_size)``; the length is rounded up to whole pages.
        """
        import mmap as memory

        if self._info.type != MapType.ARRAY or MapFlag.MMAPABLE not in self.flags:
            raise UsageError(f"map {self.name!r} is no ARRAY map with the flag MMAPABLE")
        size = kernel.value_stride(self.value_size) * self.max_entries
        size = -(-size // memory.PAGESIZE) * memory.PAGESIZE
        access = memory.PROT_READ | (memory.PROT_WRITE if writable else 0)
        try:
            return memory.mmap(self.fd, size, memory.MAP_SHARED, access)
        except OSError as error:
            raise failed_call(f"map {self.name!r}: mmap", error) from None

    def attach(self) -> Link:
        """Registers a STRUCT_OPS map and returns the link. Raises :class:`UsageError` for other types."""
        if self._attach is None:
            raise UsageError(f"map {self.name!r} is no STRUCT_OPS map: there is nothing to attach")
        return self._attach()

    def _lookup(self, key: bytes, flags: int) -> bytes | None:
        window = kernel.value_window(self._info.type, self.value_size)
        try:
            return kernel.map_lookup(self.fd, key, window, flags=flags)
        except OSError as error:
            raise failed_call(f"map {self.name!r}: lookup", error) from None

    def _key(self, key: bytes | int | None) -> bytes:
        if isinstance(key, int):
            try:
                return key.to_bytes(self.key_size, sys.byteorder)
            except OverflowError:
                raise UsageError(f"map {self.name!r}: key {key} does not fit {self.key_size} bytes") from None
        if key is None or len(key) != self.key_size:
            given = "none" if key is None else f"{len(key)} bytes"
            raise UsageError(f"map {self.name!r}: a key has {self.key_size} bytes, not {given}")
        return bytes(key)

    def _value(self, value: bytes | Sequence[bytes]) -> bytes:
        window = kernel.value_window(self._info.type, self.value_size)
        if not kernel.is_per_cpu(self._info.type):
            if not isinstance(value, bytes | bytearray | memoryview) or len(value) != window:
                raise UsageError(f"map {self.name!r}: a value has {window} bytes")
            return bytes(value)
        values = [value] * kernel.possible_cpus() if isinstance(value, bytes | bytearray) else list(value)
        if len(values) != kernel.possible_cpus() or any(len(one) != self.value_size for one in values):
            cpus = kernel.possible_cpus()
            raise UsageError(
                f"map {self.name!r}: a value is {cpus} times {self.value_size} bytes, or one of them"
            )
        stride = kernel.value_stride(self.value_size)
        return b"".join(one.ljust(stride, b"\0") for one in values)

    def _split(self, window: bytes) -> list[bytes]:
        stride = kernel.value_stride(self.value_size)
        return [window[start : start + self.value_size] for start in range(0, len(window), stride)]

    def __repr__(self) -> str:
        kind = self.type.name if isinstance(self.type, MapType) else self.type
        return (
            f"<Map {self.name!r} {kind} {self.key_size}:{self.value_size} bytes, {self.max_entries} entries>"
        )
