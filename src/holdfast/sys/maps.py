# SPDX-License-Identifier: Apache-2.0
"""Maps: create, read, write, freeze.

Keys and values are bytes of exactly the size that the kernel copies, which it takes from the map and
not from the caller: a key of ``key_size`` bytes, a value of :func:`value_window` bytes. A shorter one
makes the kernel read past it; :class:`holdfast.load.Map` checks what its callers pass.
"""

from __future__ import annotations

import errno
import struct
from functools import cache
from pathlib import Path

from holdfast.sys.abi import OBJ_NAME_LEN, Command
from holdfast.sys.fd import OwnedFd
from holdfast.sys.syscall import address, bpf, buffer
from holdfast.terms import MapType

__all__ = [
    "PER_CPU", "is_per_cpu", "map_create", "map_delete", "map_freeze", "map_lookup", "map_next_key",
    "map_update", "possible_cpus", "value_stride", "value_window",
]  # fmt: skip

PER_CPU = frozenset(
    {
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    }
)


@cache
def possible_cpus() -> int:
    """Returns how many CPUs could ever be there: the length of a per-CPU value (not the ones online)."""
    last = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


def is_per_cpu(map_type: int) -> bool:
    return map_type in PER_CPU


def value_stride(value_size: int) -> int:
    """Returns the bytes from one CPU's value to the next: rounded up to 8 (kernel bpf_map_value_size)."""
    return (value_size + 7) & ~7


def value_window(map_type: int, value_size: int) -> int:
    """Returns the bytes that the kernel reads or writes for one value of such a map."""
    if is_per_cpu(map_type):
        return value_stride(value_size) * possible_cpus()
    # An inner map is written as a descriptor and read as an id, 4 bytes both.
    return 4 if map_type in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS) else value_size


def map_create(
    map_type: int,
    *,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    name: str = "",
    inner_map_fd: int = 0,
    btf_fd: int = 0,
    btf_key_type_id: int = 0,
    btf_value_type_id: int = 0,
    btf_vmlinux_value_type_id: int = 0,
    extra: int = 0,
) -> OwnedFd:
    """Returns a new map, sizes in bytes. Raises :class:`OSError`."""
    content = struct.pack(
        "=7I16s5IQ",
        map_type, key_size, value_size, max_entries, flags, inner_map_fd, 0, _name(name),
        0, btf_fd, btf_key_type_id, btf_value_type_id, btf_vmlinux_value_type_id, extra,
    )  # fmt: skip
    return OwnedFd(bpf(Command.MAP_CREATE, content))


def _name(name: str) -> bytes:
    # bpf_obj_name_cpy admits letters, digits, underscores and dots.
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_." else "_" for c in name).encode()[
        : OBJ_NAME_LEN - 1
    ]


def _element(command: Command, fd: int, key: bytes | None, second: int, flags: int = 0) -> None:
    block = None if key is None else buffer(key)
    bpf(command, struct.pack("=IIQQQ", fd, 0, address(block), second, flags))


def map_lookup(fd: int, key: bytes, window: int, *, flags: int = 0) -> bytes | None:
    """Returns ``window`` bytes (see :func:`value_window`), or None without such a key. Raises
    :class:`OSError`.
    """
    value = buffer(window)
    try:
        _element(Command.MAP_LOOKUP_ELEM, fd, key, address(value), flags)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return value.raw[:window]


def map_update(fd: int, key: bytes | None, value: bytes, *, flags: int = 0) -> None:
    """Writes one value; ``key`` is None for queues, stacks and bloom filters. Raises :class:`OSError`."""
    block = buffer(value)
    _element(Command.MAP_UPDATE_ELEM, fd, key, address(block), flags)


def map_delete(fd: int, key: bytes) -> bool:
    """Returns whether there was such a key; it is gone now. Raises :class:`OSError`."""
    try:
        _element(Command.MAP_DELETE_ELEM, fd, key, 0)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """Returns the key after ``key`` (None: the first), or None at the end.

    A key that was deleted meanwhile starts over from the first, as the kernel does.
    """
    following = buffer(key_size)
    try:
        _element(Command.MAP_GET_NEXT_KEY, fd, key, address(following))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return following.raw[:key_size]


def map_freeze(fd: int) -> None:
    """Forbids user space to write the map from now on (5.2). Raises :class:`OSError`."""
    bpf(Command.MAP_FREEZE, struct.pack("=I", fd))
