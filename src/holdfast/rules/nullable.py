# SPDX-License-Identifier: Apache-2.0
"""Which pointers a program must compare with null before it reads through them, though the kernel's
prototypes do not say so.

check_ptr_to_btf_access() and check_mem_access() in kernel/bpf/verifier.c, raw_tp_null_args in
kernel/bpf/btf.c, trees 6.12 to 7.3.
"""

from __future__ import annotations

from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since

__all__ = ["FIELDS", "tracepoint_argument"]

FIELDS: Final = {False: "__safe_trusted_or_null", True: "__safe_rcu_or_null"}
"""What the kernel adds to a struct's name where it lists fields that may be null when they are read from a
trusted pointer (BTF_TYPE_SAFE_TRUSTED_OR_NULL since 6.8, BTF_TYPE_SAFE_RCU_OR_NULL since 6.4): these lists
are structs of its BTF. The second kind (True) counts in programs that cannot sleep alone."""

_ARGUMENTS: Final[dict[str, int]] = {
    "sched_pi_setprio": 0x10,
    "sched_stick_numa": 0x100,
    "sched_swap_numa": 0x100,
    "afs_make_fs_call": 0x10,
    "afs_make_fs_calli": 0x10,
    "afs_make_fs_call1": 0x10,
    "afs_make_fs_call2": 0x10,
    "afs_protocol_error": 0x1,
    "afs_flock_ev": 0x10,
    "ext4_mballoc_discard": 0x10,
    "ext4_mballoc_free": 0x10,
    "fib_table_lookup": 0x100,
    "posix_lock_inode": 0x10,
    "fcntl_setlk": 0x10,
    "locks_remove_posix": 0x10,
    "flock_lock_inode": 0x10,
    "break_lease_noblock": 0x10,
    "break_lease_block": 0x10,
    "break_lease_unblock": 0x10,
    "generic_delete_lease": 0x10,
    "time_out_leases": 0x10,
    "mm_khugepaged_scan_pmd": 0x10,
    "mm_collapse_huge_page_isolate": 0x1,
    "mm_khugepaged_scan_file": 0x10,
    "mm_khugepaged_collapse_file": 0x10,
    "mm_page_alloc": 0x1,
    "mm_page_pcpu_drain": 0x1,
    "mm_page_alloc_zone_locked": 0x1,
    "netfs_failure": 0x10,
    "device_pm_callback_start": 0x10,
    "qdisc_dequeue": 0x1000,
    "xs_stream_read_data": 0x1,
    "xprt_reserve_cong": 0x10,
    "xprt_release_cong": 0x10,
    "xprt_get_cong": 0x10,
    "xprt_put_cong": 0x10,
    "tcp_send_reset": 0x11,
    "tmigr_update_events": 0x1,
    "writeback_dirty_folio": 0x10,
    "folio_wait_writeback": 0x10,
}
"""Tracepoints of which some arguments may be null or an error (4 bits for each argument: 1 null, 2 error), as
far as the trees 6.12, 6.18, 7.1 and 7.3 agree."""
_ARGUMENTS_7_3: Final[dict[str, int]] = {
    "sched_process_wait": 0x1,
    "signal_generate": 0x20,
    "signal_deliver": 0x20,
}
"""In the tree of 7.3 and not in that of 7.2."""


def tracepoint_argument(tracepoint: str, number: int, ask: Ask) -> Ruling:
    """Whether a tp_btf program may read through argument ``number`` (from 0) without a comparison.

    838a10bd2ebf (6.13, and the stable updates of 6.12) brought the table, and its struct is in BTF.
    """
    source = "raw_tp_null_args in kernel/bpf/btf.c"
    bits = _ARGUMENTS.get(tracepoint, 0)
    if tracepoint in _ARGUMENTS_7_3 and since(ask, (7, 3)):
        bits = _ARGUMENTS_7_3[tracepoint]
    bits = bits >> (number * 4) & 0xF
    if not bits or ask.btf(Sign.struct("bpf_raw_tp_null_args")) is not True:
        return Ruling(Allowed.YES, "", source)
    what = "null" if bits & 1 else "an error"
    return Ruling(Allowed.NO, f"argument {number + 1} of {tracepoint} may be {what}", source)
