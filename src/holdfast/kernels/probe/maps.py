# SPDX-License-Identifier: Apache-2.0
"""Trial maps: whether a map of each type can be created."""

from __future__ import annotations

import errno
import mmap
import struct
from dataclasses import dataclass
from typing import Final

from holdfast import sys
from holdfast.terms import MapFlag, MapType

__all__ = ["map_type"]

_ENOTSUPP: Final = 524  # the kernel's own number, in no errno.h
_NO_SUCH_TYPE: Final = 0x7FF0


@dataclass(frozen=True, slots=True)
class _Form:
    """Sizes in bytes that the kernel takes for a type from the release on that brought it."""

    key_size: int = 4
    value_size: int = 4
    max_entries: int = 1
    flags: int = 0
    typed: bool = False  # key and value of BTF type int
    inner: bool = False


_PAGE: Final = mmap.PAGESIZE
_PLAIN: Final = _Form()
_FORMS: Final[dict[MapType, _Form]] = {
    MapType.HASH: _PLAIN,
    MapType.ARRAY: _PLAIN,
    MapType.PROG_ARRAY: _PLAIN,
    MapType.PERF_EVENT_ARRAY: _PLAIN,
    MapType.PERCPU_HASH: _PLAIN,
    MapType.PERCPU_ARRAY: _PLAIN,
    MapType.STACK_TRACE: _Form(value_size=8),
    MapType.CGROUP_ARRAY: _PLAIN,
    MapType.LRU_HASH: _PLAIN,
    MapType.LRU_PERCPU_HASH: _PLAIN,
    MapType.LPM_TRIE: _Form(8, 8, flags=MapFlag.NO_PREALLOC),
    MapType.ARRAY_OF_MAPS: _Form(inner=True),
    MapType.HASH_OF_MAPS: _Form(inner=True),
    MapType.DEVMAP: _PLAIN,
    MapType.SOCKMAP: _PLAIN,
    MapType.CPUMAP: _PLAIN,
    MapType.XSKMAP: _PLAIN,
    MapType.SOCKHASH: _PLAIN,
    MapType.CGROUP_STORAGE: _Form(16, 8, 0),
    MapType.REUSEPORT_SOCKARRAY: _Form(value_size=8),
    MapType.PERCPU_CGROUP_STORAGE: _Form(16, 8, 0),
    MapType.QUEUE: _Form(0),
    MapType.STACK: _Form(0),
    MapType.SK_STORAGE: _Form(max_entries=0, flags=MapFlag.NO_PREALLOC, typed=True),
    MapType.DEVMAP_HASH: _PLAIN,
    MapType.RINGBUF: _Form(0, 0, _PAGE),
    MapType.INODE_STORAGE: _Form(max_entries=0, flags=MapFlag.NO_PREALLOC, typed=True),
    MapType.TASK_STORAGE: _Form(max_entries=0, flags=MapFlag.NO_PREALLOC, typed=True),
    MapType.BLOOM_FILTER: _Form(0),
    MapType.USER_RINGBUF: _Form(0, 0, _PAGE),
    MapType.CGRP_STORAGE: _Form(max_entries=0, flags=MapFlag.NO_PREALLOC, typed=True),
    MapType.ARENA: _Form(0, 0, 1, MapFlag.MMAPABLE),
    MapType.INSN_ARRAY: _Form(4, 16),
    MapType.RHASH: _Form(flags=MapFlag.NO_PREALLOC),
}


def map_type(wanted: MapType) -> bool | None:
    """Whether a map of this type can be created; None when the refusal may have another cause."""
    if wanted is MapType.STRUCT_OPS:
        return _struct_ops()
    form = _FORMS.get(wanted)
    if form is None:
        return None
    try:
        _create(wanted, form)
    except OSError as error:
        # EOPNOTSUPP and ENOTSUPP: the type is there and this architecture or configuration cannot serve it.
        if error.errno in (errno.EOPNOTSUPP, _ENOTSUPP):
            return False
        return False if error.errno == _errno_of_no_type() and error.errno != errno.EPERM else None
    return True


def _create(wanted: int, form: _Form) -> None:
    btf = sys.btf_load(_int_btf()) if form.typed else None
    inner = None
    try:
        if form.inner:
            inner = sys.map_create(MapType.ARRAY, key_size=4, value_size=4, max_entries=1)
        sys.map_create(
            wanted,
            key_size=form.key_size,
            value_size=form.value_size,
            max_entries=form.max_entries,
            flags=form.flags,
            inner_map_fd=inner.fileno() if inner else 0,
            btf_fd=btf.fileno() if btf else 0,
            btf_key_type_id=1 if btf else 0,
            btf_value_type_id=1 if btf else 0,
        ).close()
    finally:
        for held in (btf, inner):
            if held:
                held.close()


def _errno_of_no_type() -> int:
    try:
        _create(_NO_SUCH_TYPE, _PLAIN)
    except OSError as error:
        return error.errno or 0
    return 0


def _struct_ops() -> bool | None:
    """Type id 1 of vmlinux (an int) is no struct_ops value: ENOTSUPP comes from the type's own code alone.

    ``bpf_struct_ops_map_alloc()``; libbpf's feature probe asks in the same way. Any other refusal is open.
    """
    try:
        sys.map_create(
            MapType.STRUCT_OPS, key_size=4, value_size=4, max_entries=1, btf_vmlinux_value_type_id=1
        ).close()
    except OSError as error:
        return True if error.errno == _ENOTSUPP else None
    return None


def _int_btf() -> bytes:
    """BTF with one type, a signed 32-bit int, id 1."""
    types = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    strings = b"\0int\0"
    return (
        struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    )
