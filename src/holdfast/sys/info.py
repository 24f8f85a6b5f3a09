# SPDX-License-Identifier: Apache-2.0
"""BPF_OBJ_GET_INFO_BY_FD for programs, maps, links and BTF."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from holdfast.sys.abi import Command
from holdfast.sys.syscall import Buffer, address, bpf, buffer, c_string

__all__ = [
    "BtfInfo", "LinkInfo", "MapInfo", "ProgInfo",
    "btf_info", "link_info", "map_info", "prog_info", "prog_map_ids", "prog_xlated_insns",
]  # fmt: skip

# Offsets in bytes of struct bpf_prog_info; fields are only ever appended (UAPI), so they hold on every
# kernel.
_PROG_SIZE = 232
_MAP_SIZE = 88
_LINK_SIZE = 72


@dataclass(frozen=True, slots=True)
class ProgInfo:
    """``struct bpf_prog_info``: sizes in bytes, times in ns; fields an older kernel does not tell are 0."""

    type: int
    id: int
    tag: str  # 8 bytes as hexadecimal digits
    name: str  # cut to 15 bytes by the kernel
    jited_size: int
    xlated_size: int
    load_time_ns: int  # since boot
    uid: int
    map_count: int
    ifindex: int
    gpl_compatible: bool
    btf_id: int
    run_time_ns: int
    run_count: int
    verified_insns: int  # 5.16
    attach_btf_obj_id: int
    attach_btf_id: int


@dataclass(frozen=True, slots=True)
class MapInfo:
    """``struct bpf_map_info``: key and value sizes in bytes."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str  # cut to 15 bytes by the kernel
    ifindex: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_value_type_id: int  # of a struct_ops map
    extra: int


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """``struct bpf_link_info``: the part that all link types share."""

    type: int
    id: int
    prog_id: int
    detail: bytes  # the union that depends on the type


@dataclass(frozen=True, slots=True)
class BtfInfo:
    """``struct bpf_btf_info``: ``size`` of the raw BTF in bytes."""

    id: int
    size: int
    name: str  # "vmlinux", a module, or empty
    kernel: bool


def _info(fd: int, content: bytes) -> Buffer:
    block = buffer(content)
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(content), address(block)))
    return block


def prog_info(fd: int) -> ProgInfo:
    """Returns what the kernel tells of a program. Raises :class:`OSError`."""
    raw = _info(fd, bytes(_PROG_SIZE)).raw
    kind, number, tag, jited, xlated = struct.unpack_from("=II8sII", raw, 0)
    load_time, uid, maps = struct.unpack_from("=QII", raw, 40)
    ifindex, gpl = struct.unpack_from("=II", raw, 80)
    run_time, run_count = struct.unpack_from("=QQ", raw, 192)
    verified, attach_object, attach_type = struct.unpack_from("=III", raw, 216)
    return ProgInfo(
        type=kind, id=number, tag=tag.hex(), name=c_string(raw[64:80]), jited_size=jited, xlated_size=xlated,
        load_time_ns=load_time, uid=uid, map_count=maps, ifindex=ifindex, gpl_compatible=bool(gpl & 1),
        btf_id=struct.unpack_from("=I", raw, 128)[0], run_time_ns=run_time, run_count=run_count,
        verified_insns=verified, attach_btf_obj_id=attach_object, attach_btf_id=attach_type,
    )  # fmt: skip


def prog_map_ids(fd: int) -> tuple[int, ...]:
    """Returns the ids of the maps that a program uses."""
    count = prog_info(fd).map_count
    if not count:
        return ()
    numbers = buffer(4 * count)
    content = bytearray(_PROG_SIZE)
    struct.pack_into("=IQ", content, 52, count, address(numbers))
    told = struct.unpack_from("=I", _info(fd, bytes(content)), 52)[0]
    return struct.unpack_from(f"={min(count, told)}I", numbers)


def prog_xlated_insns(fd: int) -> bytes:
    """Returns the instructions as the kernel holds them after verification, 8 bytes each.

    Calls and map references carry ids instead of addresses where the kernel hides those
    (bpf_insn_prepare_dump). Empty when this process may not see them: CAP_PERFMON or CAP_SYS_ADMIN, and
    ``/proc/sys/net/core/bpf_jit_harden`` or ``kernel.kptr_restrict`` below the level that hides them.
    """
    size = prog_info(fd).xlated_size
    if not size:
        return b""
    room = buffer(size)
    content = bytearray(_PROG_SIZE)
    struct.pack_into("=I", content, 20, size)
    struct.pack_into("=Q", content, 32, address(room))
    raw = _info(fd, bytes(content))
    told, pointer = struct.unpack_from("=I", raw, 20)[0], struct.unpack_from("=Q", raw, 32)[0]
    # The kernel clears the pointer when it withholds the dump (bpf_dump_raw_ok).
    return room.raw[: min(told, size)] if pointer else b""


def map_info(fd: int) -> MapInfo:
    """Returns what the kernel tells of a map. Raises :class:`OSError`."""
    raw = _info(fd, bytes(_MAP_SIZE)).raw
    kind, number, key, value, entries, flags = struct.unpack_from("=6I", raw, 0)
    ifindex, vmlinux_value = struct.unpack_from("=II", raw, 40)
    btf, key_type, value_type = struct.unpack_from("=III", raw, 64)
    return MapInfo(
        type=kind, id=number, key_size=key, value_size=value, max_entries=entries, flags=flags,
        name=c_string(raw[24:40]), ifindex=ifindex, btf_id=btf, btf_key_type_id=key_type,
        btf_value_type_id=value_type, btf_vmlinux_value_type_id=vmlinux_value,
        extra=struct.unpack_from("=Q", raw, 80)[0],
    )  # fmt: skip


def link_info(fd: int) -> LinkInfo:
    """Returns what the kernel tells of a link. Raises :class:`OSError`."""
    raw = _info(fd, bytes(_LINK_SIZE)).raw
    kind, number, program = struct.unpack_from("=III", raw, 0)
    return LinkInfo(type=kind, id=number, prog_id=program, detail=raw[16:_LINK_SIZE])


def btf_info(fd: int) -> BtfInfo:
    """Returns what the kernel tells of loaded BTF. Raises :class:`OSError`."""
    name = buffer(64)
    raw = _info(fd, struct.pack("=QIIQII", 0, 0, 0, address(name), 64, 0)).raw
    size, number = struct.unpack_from("=II", raw, 8)
    return BtfInfo(
        id=number, size=size, name=c_string(name.raw), kernel=bool(struct.unpack_from("=I", raw, 28)[0])
    )
