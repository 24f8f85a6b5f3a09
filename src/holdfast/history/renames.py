# SPDX-License-Identifier: Apache-2.0
"""Names that a kfunc had before, or has now: those that are known, and those that look like it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["RENAMES", "Rename", "affix_free", "renames_of"]


@dataclass(frozen=True, slots=True)
class Rename:
    """``old`` became ``new`` in ``release``. ``source`` is the kernel commit, or the file that says so.

    ``note`` tells what else changed, "" where only the name did. ``guess``: nobody said so; a name went and a
    like one with the same parameters came.
    """

    old: str
    new: str
    release: str
    source: str
    note: str = ""
    guess: bool = False


def _scx(old: str, new: str, commit: str) -> Rename:
    return Rename(old, new, "6.13", commit)


_INSERT, _MOVE = "cc26abb1a19a", "5cbb302880f5"

RENAMES: Final[tuple[Rename, ...]] = (
    Rename("bpf_task_acquire_not_zero", "bpf_task_acquire", "6.4", "f85671c6ef46", "its result may be NULL"),
    Rename("bpf_task_kptr_get", "bpf_task_acquire", "6.4", "f85671c6ef46", "takes the task under RCU"),
    Rename(
        "bpf_cgroup_kptr_get", "bpf_cgroup_acquire", "6.4", "kernel/bpf/helpers.c of 6.5",
        "takes the cgroup under RCU",
    ),
    Rename("bpf_cpumask_any", "bpf_cpumask_any_distribute", "6.5", "f983be917332"),
    Rename("bpf_cpumask_any_and", "bpf_cpumask_any_and_distribute", "6.5", "f983be917332"),
    *(
        Rename(name, f"{name}_impl", "6.4", "d2dcc67df910", "returns int and takes hidden arguments")
        for name in ("bpf_list_push_front", "bpf_list_push_back", "bpf_rbtree_add")
    ),
    *(
        Rename(
            f"{name}_impl", name, "7.1", "kernel/bpf/helpers.c of 7.1",
            "without the hidden arguments (KF_IMPLICIT_ARGS); the old name is still there",
        )
        for name in (
            "bpf_obj_new", "bpf_obj_drop", "bpf_percpu_obj_new", "bpf_percpu_obj_drop",
            "bpf_refcount_acquire", "bpf_list_push_front", "bpf_list_push_back",
            "bpf_rbtree_add",
        )
    ),
    *(
        Rename(f"{name}_impl", name, "7.0", "b236134f", "without the hidden argument (KF_IMPLICIT_ARGS)")
        for name in (
            "bpf_wq_set_callback", "bpf_task_work_schedule_signal", "bpf_task_work_schedule_resume",
            "bpf_stream_vprintk",
        )
    ),
    _scx("scx_bpf_dispatch", "scx_bpf_dsq_insert", _INSERT),
    _scx("scx_bpf_dispatch_vtime", "scx_bpf_dsq_insert_vtime", _INSERT),
    _scx("scx_bpf_consume", "scx_bpf_dsq_move_to_local", "5209c03c8ed2"),
    _scx("scx_bpf_dispatch_from_dsq", "scx_bpf_dsq_move", _MOVE),
    _scx("scx_bpf_dispatch_vtime_from_dsq", "scx_bpf_dsq_move_vtime", _MOVE),
    _scx("scx_bpf_dispatch_from_dsq_set_slice", "scx_bpf_dsq_move_set_slice", _MOVE),
    _scx("scx_bpf_dispatch_from_dsq_set_vtime", "scx_bpf_dsq_move_set_vtime", _MOVE),
    Rename(
        "scx_bpf_cpu_rq", "scx_bpf_locked_rq", "7.3", "kernel/sched/ext.c of 6.18",
        "or scx_bpf_cpu_curr(), to look at what another CPU runs",
    ),
    Rename(
        "scx_bpf_dsq_insert_vtime", "__scx_bpf_dsq_insert_vtime", "6.19", "kernel/sched/ext.c of 7.1",
        "arguments packed in a struct; the old name is still there",
    ),
    Rename(
        "scx_bpf_select_cpu_and", "__scx_bpf_select_cpu_and", "6.19", "kernel/sched/ext_idle.c of 7.1",
        "arguments packed in a struct; the old name is still there",
    ),
    *(
        Rename(
            name, f"{name}___v2", release, "kernel/sched/ext.c of 7.1",
            f"{note}; the old name is still there",
        )
        for name, release, note in (
            ("scx_bpf_dsq_insert", "6.19", "returns bool"),
            ("scx_bpf_dsq_move_to_local", "7.1", "takes enq_flags"),
            ("scx_bpf_reenqueue_local", "6.19", "may be called from anywhere"),
        )
    ),
    *(
        Rename(f"cgroup_rstat_{verb}", f"css_rstat_{verb}", "6.16", "kernel/cgroup/rstat.c of 6.18",
               "takes struct cgroup_subsys_state *")
        for verb in ("updated", "flush")
    ),
    Rename(
        "hid_bpf_attach_prog", "struct_ops hid_bpf_ops", "6.11", "drivers/hid/bpf of 6.12",
        "no kfunc: attached as a struct_ops link",
    ),
    *(
        Rename(f"{name}_cwnd_event", f"{name}_cwnd_event_tx_start", "7.1", "net/ipv4 of 7.2")
        for name in ("bbr", "cubictcp")
    ),
)  # fmt: skip

_AFFIX: Final = re.compile(r"(_impl|___v\d+)$")


def affix_free(name: str) -> str:
    """The name without ``_impl`` or ``___v2`` and without leading ``__``, which say that there is another."""
    return _AFFIX.sub("", name).lstrip("_")


def renames_of(name: str) -> tuple[list[Rename], list[Rename]]:
    """Known renames to this name, and from it."""
    return [one for one in RENAMES if one.new == name], [one for one in RENAMES if one.old == name]
