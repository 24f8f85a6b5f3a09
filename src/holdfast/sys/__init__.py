# SPDX-License-Identifier: Apache-2.0
"""The running kernel's own doors: bpf(2), capabilities, lockdown. ctypes on libc, nothing else.

Functions here raise :class:`OSError` with the kernel's errno; who calls them knows what was wanted
and turns it into one of Holdfast's errors.
"""

from __future__ import annotations

from holdfast.sys.abi import OBJ_NAME_LEN, Command, LinkType, ProgFlag, TestRunFlag, UpdateFlag
from holdfast.sys.fd import OwnedFd
from holdfast.sys.ids import Kind, fd_by_id, ids
from holdfast.sys.info import (
    BtfInfo,
    LinkInfo,
    MapInfo,
    ProgInfo,
    btf_info,
    link_info,
    map_info,
    prog_info,
    prog_map_ids,
    prog_xlated_insns,
)
from holdfast.sys.maps import (
    PER_CPU,
    is_per_cpu,
    map_create,
    map_delete,
    map_freeze,
    map_lookup,
    map_next_key,
    map_update,
    possible_cpus,
    value_stride,
    value_window,
)
from holdfast.sys.pins import is_bpffs, obj_get, obj_pin
from holdfast.sys.privilege import (
    Lockdown,
    capabilities,
    in_initial_user_namespace,
    lockdown,
    missing,
    unprivileged_bpf_disabled,
)
from holdfast.sys.progs import RawLoad, TestRun, btf_load, link_create, pack_skb, prog_load, prog_test_run
from holdfast.sys.syscall import bpf

__all__ = [
    "BtfInfo",
    "Command",
    "Kind",
    "LinkInfo",
    "LinkType",
    "Lockdown",
    "MapInfo",
    "OBJ_NAME_LEN",
    "OwnedFd",
    "PER_CPU",
    "ProgFlag",
    "ProgInfo",
    "RawLoad",
    "TestRun",
    "TestRunFlag",
    "UpdateFlag",
    "bpf",
    "btf_info",
    "btf_load",
    "capabilities",
    "fd_by_id",
    "ids",
    "in_initial_user_namespace",
    "is_bpffs",
    "is_per_cpu",
    "link_create",
    "link_info",
    "lockdown",
    "map_create",
    "map_delete",
    "map_freeze",
    "map_info",
    "map_lookup",
    "map_next_key",
    "map_update",
    "missing",
    "obj_get",
    "obj_pin",
    "pack_skb",
    "possible_cpus",
    "prog_info",
    "prog_load",
    "prog_map_ids",
    "prog_test_run",
    "prog_xlated_insns",
    "unprivileged_bpf_disabled",
    "value_stride",
    "value_window",
]
