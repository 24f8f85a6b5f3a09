# SPDX-License-Identifier: Apache-2.0
"""What BPF_MAP_CREATE asks of each map type: shape, flags, BTF, capabilities, options.

From the map_alloc_check and map_alloc functions of each type and map_create in kernel/bpf/syscall.c, trees
5.10 to 7.1; sizes are in bytes. How maps fit helpers and programs is in ``map_use``, fields of values in
``map_fields``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since
from holdfast.terms import MapFlag as Flag
from holdfast.terms import MapType

__all__ = ["Flag", "MapTypeRule", "compiled_in", "problems", "rule"]


_NO_FLAG: Final = Flag(0)
_USER: Final = Flag.RDONLY | Flag.WRONLY
_ACCESS: Final = _USER | Flag.RDONLY_PROG | Flag.WRONLY_PROG
_HASH: Final = Flag.NO_PREALLOC | Flag.NUMA_NODE | Flag.ZERO_SEED | _ACCESS
_LRU: Final = Flag.NO_COMMON_LRU | Flag.NUMA_NODE | Flag.ZERO_SEED | _ACCESS
_ARRAY: Final = Flag.NUMA_NODE | _ACCESS
# Flags that came after 5.10, with the release whose BPF has them (between the trees around it, unless eras
# knows).
_LATER: Final = {
    Flag.LINK: (6, 4),
    Flag.VTYPE_BTF_OBJ_FD: (6, 9),
    Flag.TOKEN_FD: (6, 9),
    Flag.RB_OVERWRITE: (6, 19),
}
_PERCPU_MAX: Final = 32 << 10  # PCPU_MIN_UNIT_SIZE
_KEY_MAX_5_10: Final = 512  # MAX_BPF_STACK
_INT_MAX: Final = (1 << 31) - 1
_KMALLOC_MAX: Final = 4 << 20  # KMALLOC_MAX_SIZE with pages of 4 KiB
_STACK_MAX: Final = 512  # MAX_BPF_STACK; an element's head comes on top
_ARENA_MAX: Final = 4 << 30
_LOCAL_MAX: Final = 0xFFFF - 64  # BPF_LOCAL_STORAGE_MAX_VALUE_SIZE: 64 KiB less an element's head, about this
_STACK_DEPTH: Final = 127  # kernel.perf_event_max_stack as it comes


@dataclass(frozen=True, slots=True)
class MapTypeRule:
    """The shape of one map type.

    ``keys`` and ``values`` are the sizes that are accepted; an empty tuple means any but 0. ``entries`` is
    "some" (not 0), "none" (0), "one" or "ring" (a power of 2, whole pages). ``btf`` tells that BTF ids of key
    and value are needed. ``capabilities`` come on top of CAP_BPF, which every map needs while unprivileged
    BPF is off.
    """

    type: MapType
    keys: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    entries: str = "some"
    flags: Flag = _NO_FLAG
    required: Flag = _NO_FLAG
    btf: bool = False
    percpu: bool = False
    capabilities: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def sign(self) -> Sign:
        """The enumerator: the type is known. Whether it is compiled in is told by ``options``."""
        return Sign.value("bpf_map_type", f"BPF_MAP_TYPE_{self.type.name}")


_T: Final = MapType
_HASHES: Final = frozenset({_T.HASH, _T.PERCPU_HASH, _T.LRU_HASH, _T.LRU_PERCPU_HASH})
_VALUES_5_10: Final = (
    (frozenset({_T.ARRAY, _T.PERCPU_ARRAY}), _KMALLOC_MAX),  # array_map_alloc_check
    (frozenset({_T.CGROUP_STORAGE, _T.PERCPU_CGROUP_STORAGE}), 4096),  # cgroup_storage_map_alloc: a page
)
_FD: Final = Flag.NUMA_NODE | _USER
_BPF: Final = ("CAP_BPF",)
_ADMIN: Final = ("CAP_NET_ADMIN",)


def _local(kind: MapType, options: tuple[str, ...], flags: Flag = _NO_FLAG) -> MapTypeRule:
    return MapTypeRule(
        kind,
        keys=(4,),
        entries="none",
        flags=Flag.NO_PREALLOC | flags,
        required=Flag.NO_PREALLOC,
        btf=True,
        capabilities=_BPF,
        options=options,
    )


_RULES: Final = {
    row.type: row
    for row in (
        MapTypeRule(_T.HASH, flags=_HASH),
        MapTypeRule(_T.ARRAY, keys=(4,), flags=_ARRAY | Flag.MMAPABLE | Flag.INNER_MAP),
        MapTypeRule(_T.PROG_ARRAY, keys=(4,), values=(4,), flags=_FD),
        MapTypeRule(_T.PERF_EVENT_ARRAY, keys=(4,), values=(4,), flags=_FD | Flag.PRESERVE_ELEMS),
        MapTypeRule(_T.PERCPU_HASH, flags=_HASH & ~Flag.NUMA_NODE, percpu=True),
        MapTypeRule(_T.PERCPU_ARRAY, keys=(4,), flags=_ACCESS, percpu=True),
        MapTypeRule(
            _T.STACK_TRACE,
            keys=(4,),
            flags=_FD | Flag.STACK_BUILD_ID,
            capabilities=_BPF,
            options=("PERF_EVENTS",),
        ),
        MapTypeRule(_T.CGROUP_ARRAY, keys=(4,), values=(4,), flags=_FD, options=("CGROUPS",)),
        MapTypeRule(_T.LRU_HASH, flags=_LRU, capabilities=_BPF),
        MapTypeRule(_T.LRU_PERCPU_HASH, flags=_LRU & ~Flag.NUMA_NODE, percpu=True, capabilities=_BPF),
        MapTypeRule(
            _T.LPM_TRIE,
            keys=tuple(range(5, 261)),
            flags=Flag.NO_PREALLOC | _ARRAY,
            required=Flag.NO_PREALLOC,
            capabilities=_BPF,
        ),
        MapTypeRule(_T.ARRAY_OF_MAPS, keys=(4,), values=(4,), flags=_FD),
        MapTypeRule(_T.HASH_OF_MAPS, values=(4,), flags=_HASH),
        MapTypeRule(_T.DEVMAP, keys=(4,), values=(4, 8), flags=_FD, capabilities=_ADMIN, options=("NET",)),
        MapTypeRule(
            _T.SOCKMAP, keys=(4,), values=(4, 8), flags=_FD, capabilities=_ADMIN, options=("NET", "INET")
        ),
        MapTypeRule(
            _T.CPUMAP, keys=(4,), values=(4, 8), flags=Flag.NUMA_NODE, capabilities=_BPF, options=("NET",)
        ),
        MapTypeRule(
            _T.XSKMAP, keys=(4,), values=(4,), flags=_FD, capabilities=_ADMIN, options=("NET", "XDP_SOCKETS")
        ),
        MapTypeRule(_T.SOCKHASH, values=(4, 8), flags=_FD, capabilities=_ADMIN, options=("NET", "INET")),
        MapTypeRule(_T.CGROUP_STORAGE, keys=(8, 16), entries="none", flags=_ARRAY, options=("CGROUP_BPF",)),
        MapTypeRule(
            _T.REUSEPORT_SOCKARRAY,
            keys=(4,),
            values=(4, 8),
            flags=_ARRAY,
            capabilities=_BPF,
            options=("NET", "INET"),
        ),
        MapTypeRule(
            _T.PERCPU_CGROUP_STORAGE,
            keys=(8, 16),
            entries="none",
            flags=_ARRAY,
            percpu=True,
            options=("CGROUP_BPF",),
        ),
        MapTypeRule(_T.QUEUE, keys=(0,), flags=_ARRAY, capabilities=_BPF),
        MapTypeRule(_T.STACK, keys=(0,), flags=_ARRAY, capabilities=_BPF),
        _local(_T.SK_STORAGE, ("NET",), Flag.CLONE),
        MapTypeRule(
            _T.DEVMAP_HASH, keys=(4,), values=(4, 8), flags=_FD, capabilities=_ADMIN, options=("NET",)
        ),
        MapTypeRule(
            _T.STRUCT_OPS,
            keys=(4,),
            entries="one",
            flags=Flag.LINK | Flag.VTYPE_BTF_OBJ_FD,
            capabilities=_BPF,
            options=("BPF_JIT",),
        ),
        MapTypeRule(
            _T.RINGBUF, keys=(0,), values=(0,), entries="ring", flags=Flag.NUMA_NODE | Flag.RB_OVERWRITE
        ),
        _local(_T.INODE_STORAGE, ("BPF_LSM",), Flag.CLONE),
        _local(_T.TASK_STORAGE, (), Flag.CLONE),
        MapTypeRule(
            _T.BLOOM_FILTER,
            keys=(0,),
            flags=Flag.NUMA_NODE | Flag.ZERO_SEED | _ACCESS,
            capabilities=_BPF,
        ),
        MapTypeRule(_T.USER_RINGBUF, keys=(0,), values=(0,), entries="ring", flags=Flag.NUMA_NODE),
        _local(_T.CGRP_STORAGE, ("CGROUPS",), Flag.CLONE),
        MapTypeRule(
            _T.ARENA,
            keys=(0,),
            values=(0,),
            flags=Flag.MMAPABLE | Flag.SEGV_ON_FAULT | Flag.NO_USER_CONV,
            required=Flag.MMAPABLE,
            capabilities=_BPF,
        ),
        MapTypeRule(_T.INSN_ARRAY, keys=(4,), values=(16,), capabilities=_BPF),
        # rhtab_map_alloc_check(), tree of 7.2
        MapTypeRule(_T.RHASH, flags=_HASH & ~Flag.ZERO_SEED, required=Flag.NO_PREALLOC, capabilities=_BPF),
    )
}


def rule(map_type: MapType) -> MapTypeRule | None:
    """The rule of a type; None for UNSPEC and for types newer than the trees."""
    return _RULES.get(map_type)


def compiled_in(map_type: MapType, ask: Ask) -> Ruling:
    """Whether maps of the type can be created at all: the enumeration knows it, and its options are on."""
    row = _RULES.get(map_type)
    sign = Sign.value("bpf_map_type", f"BPF_MAP_TYPE_{map_type.name}")
    known = ask.btf(sign)
    if known is False:
        return Ruling(Allowed.NO, f"its enum bpf_map_type has no {map_type.name}", "enum bpf_map_type")
    if row is None:
        return Ruling(Allowed.UNKNOWN, f"no rule is known for map type {map_type.name}", "trees 5.10 to 7.1")
    options = row.options
    if map_type is MapType.SOCKMAP or map_type is MapType.SOCKHASH:
        # Under BPF_STREAM_PARSER in the 5.10 tree, under INET from the 6.1 tree on.
        options = ("NET", "INET") if since(ask, (6, 1)) else ("NET", "INET", "BPF_STREAM_PARSER")
    states = [ask.config(option) for option in options]
    if False in states:
        off = options[states.index(False)]
        return Ruling(Allowed.NO, f"map type {map_type.name} needs CONFIG_{off}", "include/linux/bpf_types.h")
    if known and None not in states:
        return Ruling(Allowed.YES, "", "include/linux/bpf_types.h")
    return Ruling(Allowed.UNKNOWN, f"nothing tells whether map type {map_type.name} is compiled in")


def problems(
    map_type: MapType,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    ask: Ask,
    *,
    has_btf: bool = True,
    page_size: int = 4096,
    nr_cpus: int | None = None,
) -> tuple[Ruling, ...]:
    """What BPF_MAP_CREATE would refuse of a map's shape on this kernel (NO) or might (UNKNOWN); empty:
    nothing.

    The shape is what reaches the kernel: after libbpf has put in what the application left open (the number
    of CPUs for a PERF_EVENT_ARRAY, a rounded RINGBUF). ``has_btf``: key and value have BTF types;
    ``nr_cpus`` is CONFIG_NR_CPUS, which bounds a CPUMAP.
    """
    row = _RULES.get(map_type)
    if row is None:
        return (
            Ruling(Allowed.UNKNOWN, f"no rule is known for map type {map_type.name}", "trees 5.10 to 7.1"),
        )
    source = f"map_alloc_check or map_alloc of {map_type.name}, trees 5.10 to 7.2"
    found = [
        *_shape(row, key_size, value_size, max_entries, page_size),
        *_flags(row, Flag(flags)),
        *_special(row, key_size, value_size, max_entries, Flag(flags), page_size),
    ]
    if row.btf and not has_btf:
        found.append("needs BTF types of key and value")
    if map_type is MapType.CPUMAP and nr_cpus is not None and max_entries > nr_cpus:
        found.append(f"takes at most CONFIG_NR_CPUS ({nr_cpus}) entries, not {max_entries}")
    rulings = [Ruling(Allowed.NO, f"{map_type.name} {text}", source) for text in found]
    return (*rulings, *_by_release(row, key_size, value_size, Flag(flags), ask, source))


def _shape(row: MapTypeRule, key: int, value: int, entries: int, page: int) -> Iterator[str]:
    for what, size, sizes in (("key_size", key, row.keys), ("value_size", value, row.values)):
        if not sizes and not size:
            yield f"needs a {what} that is not 0"
        elif sizes and size not in sizes:
            yield f"needs {what} {_range(sizes)}, not {size}"
    checks: dict[str, tuple[Callable[[int], bool], str]] = {
        "some": (lambda count: count > 0, "needs max_entries that are not 0"),
        "none": (lambda count: count == 0, f"needs max_entries 0, not {entries}"),
        "one": (lambda count: count == 1, f"needs max_entries 1, not {entries}"),
        "ring": (
            lambda count: count > 0 and count & (count - 1) == 0 and count % page == 0,
            f"needs max_entries (bytes) to be a power of 2 and whole pages, not {entries}",
        ),
    }
    holds, text = checks[row.entries]
    if not holds(entries):
        yield text


def _range(sizes: tuple[int, ...]) -> str:
    return f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 3 else " or ".join(map(str, sizes))


def _flags(row: MapTypeRule, flags: Flag) -> Iterator[str]:
    # On whole numbers: the complement of an IntFlag has but the bits that have names
    odd = Flag(int(flags) & ~int(row.flags | Flag.TOKEN_FD))
    if odd:
        yield f"takes no flag {_names(odd)}"
    missing = row.required & ~flags
    if missing:
        yield f"needs flag {_names(missing)}"
    if flags & Flag.RDONLY_PROG and flags & Flag.WRONLY_PROG:
        yield "cannot be both RDONLY_PROG and WRONLY_PROG"
    if flags & Flag.RDONLY and flags & Flag.WRONLY:
        yield "cannot be both RDONLY and WRONLY"  # bpf_get_file_flag


def _names(flags: Flag) -> str:
    known = [f"BPF_F_{flag.name}" for flag in Flag if flag & flags]
    rest = int(flags) & ~sum(flag.value for flag in Flag)
    return ", ".join([*known, *([f"{rest:#x}"] if rest else [])])


def _special(row: MapTypeRule, key: int, value: int, entries: int, flags: Flag, page: int) -> Iterator[str]:
    kind = row.type
    if row.percpu and (value + 7) // 8 * 8 > _PERCPU_MAX:
        yield f"holds at most {_PERCPU_MAX} bytes per CPU, not {value}"
    if kind in (MapType.ARRAY, MapType.PERCPU_ARRAY) and value > _INT_MAX:
        yield "holds values of at most 2 GiB"
    if kind is MapType.LRU_HASH and flags & Flag.NO_COMMON_LRU and flags & Flag.NUMA_NODE:
        yield "cannot be both NO_COMMON_LRU and NUMA_NODE"
    if kind is MapType.SOCKHASH and key > _KEY_MAX_5_10:
        yield f"takes keys of at most {_KEY_MAX_5_10} bytes"
    if kind is MapType.STACK_TRACE:
        unit = 32 if flags & Flag.STACK_BUILD_ID else 8  # sizeof(struct bpf_stack_build_id), an address
        if value < 8 or value % unit:
            yield f"needs a value_size that is a multiple of {unit}, not {value}"
        elif value // unit > _STACK_DEPTH:
            yield f"holds at most kernel.perf_event_max_stack ({_STACK_DEPTH} unless changed) frames"
    if kind in (*_HASHES, MapType.RHASH) and key + value >= _KMALLOC_MAX - _STACK_MAX:
        yield f"holds keys and values of less than 4 MiB together, not {key + value} bytes"
    if kind is MapType.RHASH and key > 0xFFFF:
        yield f"takes keys of at most {0xFFFF} bytes, not {key}"
    if row.btf and value > _LOCAL_MAX:
        yield f"holds values of about {_LOCAL_MAX} bytes at most, not {value}"
    if kind is MapType.ARENA and entries * page > _ARENA_MAX:
        yield "covers at most 4 GiB"


def _by_release(
    row: MapTypeRule, key: int, value: int, flags: Flag, ask: Ask, source: str
) -> Iterator[Ruling]:
    for types, most in _VALUES_5_10:
        if row.type in types and value > most and not since(ask, (6, 1)):
            # Between the 5.10 and 6.1 trees these limits went away.
            before = Allowed.NO if since(ask, (5, 11)) is False else Allowed.UNKNOWN
            yield Ruling(before, f"{row.type.name} took values of at most {most} bytes, not {value}", source)
    for flag, release in _LATER.items():
        if not flags & flag & (row.flags | Flag.TOKEN_FD):
            continue
        there = since(ask, release)
        if not there:
            allowed = Allowed.UNKNOWN if there is None else Allowed.NO
            yield Ruling(allowed, f"{row.type.name} took no flag {_names(flag)} yet", source)
    if row.type in _HASHES and key > _KEY_MAX_5_10 and not since(ask, (6, 1)):
        # Between the 5.10 and 6.1 trees the limit on keys alone went away.
        allowed = Allowed.NO if since(ask, (5, 11)) is False else Allowed.UNKNOWN
        yield Ruling(allowed, f"{row.type.name} took keys of at most {_KEY_MAX_5_10} bytes", source)
