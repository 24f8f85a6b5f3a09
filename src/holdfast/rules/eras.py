# SPDX-License-Identifier: Apache-2.0
"""Where a kernel's BPF stands between the releases, told by what its BTF holds.

Distributions backport BPF as a whole or not at all, so the newest marker that is present says more of a
kernel than its release number. Introductions follow the UAPI header; all markers were checked against the
trees of ``helper_table.TREES``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from holdfast.rules.ask import Ask, Sign

__all__ = ["MARKERS", "Window", "since", "trees_in", "window"]

Release = tuple[int, int]
Window = tuple[Release | None, Release | None]

# Enumerators are in the BTF of every configuration; the functions are of kernel/bpf, most of them kfuncs and
# helpers, and always built in together with CONFIG_BPF_SYSCALL.
MARKERS: tuple[tuple[Release, Sign], ...] = (
    ((5, 11), Sign.value("bpf_map_type", "BPF_MAP_TYPE_TASK_STORAGE")),
    ((5, 12), Sign.value("bpf_func_id", "BPF_FUNC_check_mtu")),
    ((5, 13), Sign.value("bpf_func_id", "BPF_FUNC_for_each_map_elem")),
    ((5, 14), Sign.value("bpf_prog_type", "BPF_PROG_TYPE_SYSCALL")),
    ((5, 15), Sign.value("bpf_func_id", "BPF_FUNC_timer_init")),
    ((5, 16), Sign.value("bpf_map_type", "BPF_MAP_TYPE_BLOOM_FILTER")),
    ((5, 17), Sign.value("bpf_func_id", "BPF_FUNC_loop")),
    ((5, 18), Sign.value("bpf_attach_type", "BPF_TRACE_KPROBE_MULTI")),
    ((5, 19), Sign.value("bpf_func_id", "BPF_FUNC_kptr_xchg")),
    ((6, 0), Sign.value("bpf_attach_type", "BPF_LSM_CGROUP")),
    ((6, 1), Sign.value("bpf_map_type", "BPF_MAP_TYPE_USER_RINGBUF")),
    ((6, 2), Sign.value("bpf_map_type", "BPF_MAP_TYPE_CGRP_STORAGE")),
    ((6, 3), Sign.func("bpf_cpumask_create")),
    ((6, 4), Sign.value("bpf_prog_type", "BPF_PROG_TYPE_NETFILTER")),
    ((6, 5), Sign.func("bpf_dynptr_adjust")),
    ((6, 6), Sign.value("bpf_attach_type", "BPF_TCX_INGRESS")),
    ((6, 7), Sign.value("bpf_attach_type", "BPF_NETKIT_PRIMARY")),
    ((6, 8), Sign.func("bpf_cpumask_weight")),
    ((6, 9), Sign.value("bpf_map_type", "BPF_MAP_TYPE_ARENA")),
    ((6, 10), Sign.value("bpf_attach_type", "BPF_TRACE_KPROBE_SESSION")),
    ((6, 11), Sign.func("bpf_iter_bits_new")),
    ((6, 12), Sign.func("bpf_copy_from_user_str")),
    ((6, 13), Sign.value("bpf_attach_type", "BPF_TRACE_UPROBE_SESSION")),
    ((6, 14), Sign.func("bpf_local_irq_save")),
    ((6, 15), Sign.func("bpf_dynptr_copy")),
    ((6, 16), Sign.func("__bpf_trap")),
    ((6, 17), Sign.value("bpf_cmd", "BPF_PROG_STREAM_READ_BY_FD")),
    ((6, 18), Sign.func("bpf_strcasecmp")),
    ((6, 19), Sign.value("bpf_map_type", "BPF_MAP_TYPE_INSN_ARRAY")),
    ((7, 0), Sign.value("bpf_attach_type", "BPF_TRACE_FSESSION")),
    ((7, 1), Sign.func("bpf_list_push_front")),
    ((7, 2), Sign.value("bpf_attach_type", "BPF_TRACE_FENTRY_MULTI")),
    ((7, 3), Sign.func("bpf_prepare_btf_info")),
)


def window(ask: Ask) -> Window:
    """(newest release whose marker is there, oldest release whose marker and all later ones are not).

    (None, None) when BTF cannot be asked; (None, r) is older than 5.11; (r, None) has the newest marker.
    """
    newest: Release | None = None
    lacking: Release | None = None
    asked = False
    for release, sign in reversed(MARKERS):
        found = ask.btf(sign)
        if found is None:
            continue
        asked = True
        if found:
            newest = release
            break
        lacking = release
    return (newest, lacking) if asked else (None, None)


_T = TypeVar("_T")


def _judged(ask: Ask, work: Callable[[Ask, Any], _T], about: Any) -> _T:
    """``work(ask, about)``; an ``ask`` that has ``judged()`` may know the answer already."""
    judged: Callable[[Callable[[Ask, Any], _T], Any], _T] | None = getattr(ask, "judged", None)
    return work(ask, about) if judged is None else judged(work, about)


def since(ask: Ask, release: Release) -> bool | None:
    """Whether this kernel's BPF is at least that release's, by BTF alone."""
    return _judged(ask, _since, release)


def _since(ask: Ask, release: Release) -> bool | None:
    if all(marked != release for marked, _ in MARKERS):
        return True if release <= (5, 10) else None
    newest, lacking = window(ask)
    if newest is not None and newest >= release:
        return True
    if lacking is not None and lacking <= release:
        return False
    return None


def trees_in(ask: Ask, trees: tuple[Release, ...]) -> tuple[list[int], bool]:
    """Positions in ``trees`` of those whose rules this kernel may follow, and whether the release number
    decided.

    A kernel between two trees may follow either; one beyond the last follows the last.
    """
    places, by_release = _judged(ask, _trees_in, trees)
    return list(places), by_release


def _trees_in(ask: Ask, trees: tuple[Release, ...]) -> tuple[tuple[int, ...], bool]:
    low, high = window(ask)
    by_release = False
    if low is None and high is None:
        low = ask.release()
        by_release = low is not None
        if low is None:
            return tuple(range(len(trees))), False
    start = 0
    for at, tree in enumerate(trees):
        if low is not None and tree <= low:
            start = at
    # What came with the tree's own release is in; what came after it and before the next tree may be in.
    if low == trees[start] or start == len(trees) - 1 or (low is None and start == 0):
        return (start,), by_release
    return (start, start + 1), by_release
