# SPDX-License-Identifier: Apache-2.0
"""Filters of kfunc sets: which of the programs whose type a set is registered for may call its kfuncs.

``struct btf_kfunc_id_set`` can name a function, ``filter``, that is asked about each call (6.5, commit
e924e80ee6a3). An image tells its name, so these rules were read in the source, of 6.12.107, 6.18.15, 7.1.13,
7.2.12 and 7.3.4, which have no others. All of these let kfuncs of other sets through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.terms import AttachType, ProgramType

__all__ = ["KNOWN_FILTERS", "Caller", "admits", "admitted_by_all"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A program, as filters see it.

    ``attach_type`` is its expected_attach_type, ``struct_ops`` the kernel's name of the struct that it is a
    member of and ``member`` that member's, ``target`` the kernel function that an LSM program attaches to
    (``bpf_lsm_file_open``); None where not known (or not asked: any program of the type).
    """

    program_type: ProgramType
    attach_type: AttachType | None = None
    struct_ops: str | None = None
    member: str | None = None
    target: str | None = None


_YES: Final = Ruling(Allowed.YES)
_Rule = Callable[[str, Caller, Ask, str], Ruling]


def _no(why: str, source: str) -> Ruling:
    return Ruling(Allowed.NO, why, source)


def _unknown(why: str, source: str) -> Ruling:
    return Ruling(Allowed.UNKNOWN, why, source)


def _only_attached(
    caller: Caller, wanted: Iterable[tuple[ProgramType | None, AttachType]], source: str
) -> Ruling:
    """Programs with one of these attach types, each for one program type or for any."""
    admitted = [attach for only, attach in wanted if only in (None, caller.program_type)]
    words = " or ".join(f"BPF_{attach.name}" for attach in admitted)
    if not admitted:
        return _no(f"no {caller.program_type.name} program may", source)
    if caller.attach_type is None:
        return _unknown(f"only programs with expected_attach_type {words} may", source)
    if caller.attach_type in admitted:
        return _YES
    return _no(f"only programs with expected_attach_type {words} may", source)


def _iterators(_kfunc: str, caller: Caller, _ask: Ask, source: str) -> Ruling:
    return _only_attached(caller, [(None, AttachType.TRACE_ITER)], source)


def _sessions(_kfunc: str, caller: Caller, ask: Ask, source: str) -> Ruling:
    """Entry and return in one program, by kprobe or, where the kernel knows the attach type, uprobe."""
    wanted: list[tuple[ProgramType | None, AttachType]] = [(None, AttachType.TRACE_KPROBE_SESSION)]
    # 6.13 made the attach type and took it into the filter in one series (d920179b3d48, 99b403d2060f).
    uprobe = ask.btf(Sign.value("bpf_attach_type", "BPF_TRACE_UPROBE_SESSION"))
    if uprobe is None and caller.attach_type is AttachType.TRACE_UPROBE_SESSION:
        return _unknown("whether it admits BPF_TRACE_UPROBE_SESSION came with 6.13", source)
    if uprobe:
        wanted.append((None, AttachType.TRACE_UPROBE_SESSION))
    return _only_attached(caller, wanted, source)


def _sessions_and_fsession(_kfunc: str, caller: Caller, _ask: Ask, source: str) -> Ruling:
    return _only_attached(
        caller,
        [
            (ProgramType.KPROBE, AttachType.TRACE_KPROBE_SESSION),
            (ProgramType.KPROBE, AttachType.TRACE_UPROBE_SESSION),
            (ProgramType.TRACING, AttachType.TRACE_FSESSION),
        ],
        source,
    )


def _lsm(_kfunc: str, caller: Caller, _ask: Ask, source: str) -> Ruling:
    if caller.program_type is ProgramType.LSM:
        return _YES
    return _no("of the types of its hook only LSM may", source)


_BINFMT: Final = "binfmt_misc_ops"
# bpf_fs_kfunc_lsm_only_ids
_FS_LSM_ONLY: Final = frozenset({"bpf_set_dentry_xattr", "bpf_remove_dentry_xattr"})


def _fs(kfunc: str, caller: Caller, ask: Ask, source: str) -> Ruling:
    """LSM alone up to 7.2; in 7.3 the set is registered for STRUCT_OPS too, for binfmt_misc_ops."""
    if caller.program_type is not ProgramType.STRUCT_OPS or kfunc in _FS_LSM_ONLY:
        return _lsm(kfunc, caller, ask, source)
    other = _of_struct(caller, (_BINFMT,), source)
    return _YES if other is None else other


def _binfmt(_kfunc: str, caller: Caller, _ask: Ask, source: str) -> Ruling:
    if caller.program_type is not ProgramType.STRUCT_OPS:
        return _no(f"only members of {_BINFMT} may", source)
    other = _of_struct(caller, (_BINFMT,), source)
    return _of_members(caller, ("load",), source) if other is None else other


_KSOCK_LSM: Final = "bpf_lsm_socket_sendmsg"


def _ksock(_kfunc: str, caller: Caller, _ask: Ask, source: str) -> Ruling:
    """The set is registered for SYSCALL and LSM; from the hook of sends a send would come back to it."""
    if caller.program_type is ProgramType.SYSCALL:
        return _YES
    if caller.program_type is not ProgramType.LSM:
        return _no("of the types of its hook only LSM may", source)
    why = f"LSM programs may, but not on {_KSOCK_LSM}"
    if caller.target is None:
        return _unknown(why, source)
    return _no(why, source) if caller.target == _KSOCK_LSM else _YES


def _of_struct(caller: Caller, structs: tuple[str, ...], source: str) -> Ruling | None:
    """Why the struct that the program is a member of is none of these; None where it is one."""
    if caller.struct_ops in structs:
        return None
    words = f"only members of {' or '.join(structs)} may"
    if caller.struct_ops is None:
        return _unknown(words, source)
    return _no(f"{words}, and this is one of {caller.struct_ops}", source)


_QDISC_ALL: Final = frozenset({"bpf_skb_get_hash", "bpf_kfree_skb", "bpf_dynptr_from_skb"})
_QDISC_BY_MEMBER: Final[Mapping[str, frozenset[str]]] = {
    "enqueue": frozenset({"bpf_qdisc_skb_drop", "bpf_qdisc_watchdog_schedule"}),
    "dequeue": frozenset({"bpf_qdisc_watchdog_schedule", "bpf_qdisc_bstats_update"}),
}


def _qdisc(kfunc: str, caller: Caller, _ask: Ask, source: str) -> Ruling:
    other = _of_struct(caller, ("Qdisc_ops",), source)
    if other is not None:
        return other
    if kfunc in _QDISC_ALL:
        return _YES
    members = [member for member, kfuncs in _QDISC_BY_MEMBER.items() if kfunc in kfuncs]
    return _of_members(caller, members, source)


def _of_members(caller: Caller, members: Iterable[str], source: str) -> Ruling:
    words = ", ".join(members)
    if not words:
        return _no("no program may, only the kernel's own prologue and epilogue", source)
    if caller.member is None:
        return _unknown(f"only these members may: {words}", source)
    if caller.member in members:
        return _YES
    return _no(f"only these members may: {words}", source)


# Sets of kernel/sched/ext.c and ext_idle.c (7.2: kernel/sched/ext/) whose kfuncs only some members of
# sched_ext_ops may call. A kfunc of none of them stands in scx_kfunc_ids_any or _idle, which all may.
_SCX_GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "unlocked": frozenset(
        {
            "__scx_bpf_select_cpu_and",
            "scx_bpf_create_dsq",
            "scx_bpf_dsq_move",
            "scx_bpf_dsq_move_set_slice",
            "scx_bpf_dsq_move_set_vtime",
            "scx_bpf_dsq_move_vtime",
            "scx_bpf_select_cpu_and",
            "scx_bpf_select_cpu_dfl",
        }
    ),
    "cpu_release": frozenset({"scx_bpf_reenqueue_local"}),
    "dispatch": frozenset(
        {
            "scx_bpf_dispatch_cancel",
            "scx_bpf_dispatch_nr_slots",
            "scx_bpf_dsq_move",
            "scx_bpf_dsq_move_set_slice",
            "scx_bpf_dsq_move_set_vtime",
            "scx_bpf_dsq_move_to_local",
            "scx_bpf_dsq_move_to_local___v2",
            "scx_bpf_dsq_move_vtime",
            "scx_bpf_sub_dispatch",
        }
    ),
    "enqueue": frozenset(
        {
            "__scx_bpf_dsq_insert_vtime",
            "scx_bpf_dsq_insert",
            "scx_bpf_dsq_insert___v2",
            "scx_bpf_dsq_insert_vtime",
        }
    ),
    "select_cpu": frozenset({"__scx_bpf_select_cpu_and", "scx_bpf_select_cpu_and", "scx_bpf_select_cpu_dfl"}),
    "init": frozenset({"scx_bpf_cid_override"}),  # 7.2; init_cids in 7.3
}
# 7.2: these were in no set that the filter looks at, and any struct_ops program may call them.
_SCX_CID: Final = frozenset({"scx_bpf_cid_to_cpu", "scx_bpf_cid_topo", "scx_bpf_cpu_to_cid"})
# scx_kfunc_ids_cpu_only of 7.2 and 7.3: not for members of sched_ext_ops_cid.
_SCX_CPU_ONLY: Final = frozenset(
    {
        *("__scx_bpf_select_cpu_and", "scx_bpf_cpu_curr", "scx_bpf_cpu_node", "scx_bpf_cpu_rq"),
        *("scx_bpf_cpuperf_cap", "scx_bpf_cpuperf_cur", "scx_bpf_cpuperf_set", "scx_bpf_get_idle_cpumask"),
        *("scx_bpf_get_idle_cpumask_node", "scx_bpf_get_idle_smtmask", "scx_bpf_get_idle_smtmask_node"),
        *("scx_bpf_get_online_cpumask", "scx_bpf_get_possible_cpumask", "scx_bpf_kick_cpu"),
        *("scx_bpf_pick_any_cpu", "scx_bpf_pick_any_cpu_node", "scx_bpf_pick_idle_cpu"),
        *("scx_bpf_pick_idle_cpu_node", "scx_bpf_put_cpumask", "scx_bpf_put_idle_cpumask"),
        *("scx_bpf_select_cpu_and", "scx_bpf_select_cpu_dfl", "scx_bpf_task_cpu"),
        "scx_bpf_test_and_clear_cpu_idle",
    }
)
# scx_kf_allow_flags[]: members that are not here may call none of these groups.
_SCX_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "select_cpu": ("select_cpu", "enqueue"),
    "enqueue": ("select_cpu", "enqueue"),
    "dispatch": ("enqueue", "dispatch"),
    "cpu_release": ("cpu_release",),
    **dict.fromkeys(
        (
            *("init_task", "dump", "cgroup_init", "cgroup_exit", "cgroup_prep_move", "cgroup_cancel_move"),
            *("cgroup_set_weight", "cgroup_set_bandwidth", "cgroup_set_idle", "sub_attach", "sub_detach"),
            *("cpu_online", "cpu_offline", "init", "exit"),
        ),
        ("unlocked",),
    ),
}
# Members of sched_ext_ops_cid that have another name than in sched_ext_ops; cgroup_* are cpuctl_* from 7.3.
_SCX_CID_MEMBERS: Final = {
    "select_cpu": "select_cid",
    "cpu_online": "cid_online",
    "cpu_offline": "cid_offline",
}


def _scx_members(ask: Ask, cid_form: bool) -> dict[str, tuple[str, ...]]:
    """scx_kf_allow_flags[] of this kernel."""
    members = dict(_SCX_MEMBERS)
    if ask.btf(Sign.member("sched_ext_ops", "init_cids")):  # 7.3
        members |= {"init_cids": ("unlocked", "init"), "sub_ecaps_updated": ("enqueue", "dispatch")}
    else:
        members["init"] = ("unlocked", "init")
    if cid_form:
        members |= {new: members.pop(old) for old, new in _SCX_CID_MEMBERS.items()}
        members |= {
            name.replace("cgroup_", "cpuctl_"): its
            for name, its in members.items()
            if name.startswith("cgroup_")
        }
    return members


def _scx(kfunc: str, caller: Caller, ask: Ask, source: str) -> Ruling:
    """scx_kfunc_context_filter() of 7.1; 7.2 brought a second struct of operations."""
    if caller.program_type is not ProgramType.STRUCT_OPS:
        # What is registered for SYSCALL and TRACING are just the sets that it admits there.
        return _YES
    has_cids = ask.btf(Sign.struct("sched_ext_ops_cid"))
    if has_cids is None:
        return _unknown("it differs with and without struct sched_ext_ops_cid (7.2)", source)
    if kfunc in _SCX_CID and not ask.btf(Sign.member("sched_ext_ops", "init_cids")):
        return _YES
    structs = ("sched_ext_ops", "sched_ext_ops_cid") if has_cids else ("sched_ext_ops",)
    other = _of_struct(caller, structs, source)
    if other is not None:
        return other
    cid_form = caller.struct_ops == "sched_ext_ops_cid"
    if cid_form and kfunc in _SCX_CPU_ONLY:
        return _no("members of sched_ext_ops_cid may not, it deals in CPU numbers", source)
    groups = {group for group, kfuncs in _SCX_GROUPS.items() if kfunc in kfuncs}
    if not groups:
        return _YES
    members = [member for member, its in _scx_members(ask, cid_form).items() if groups & set(its)]
    return _of_members(caller, members, source)


_TRACE: Final = "kernel/trace/bpf_trace.c"
_FILTERS: Final[Mapping[str, tuple[_Rule, str]]] = {
    "tracing_iter_filter": (_iterators, "tracing_iter_filter() in net/core/filter.c, 6.5"),
    "bpf_kprobe_multi_filter": (_sessions, f"bpf_kprobe_multi_filter() in {_TRACE}, 6.10 to 6.19"),
    "bpf_session_filter": (_sessions_and_fsession, f"bpf_session_filter() in {_TRACE}, 7.0"),
    "bpf_fs_kfuncs_filter": (_fs, "bpf_fs_kfuncs_filter() in fs/bpf_fs_kfuncs.c, 6.12"),
    "bm_bpf_kfunc_filter": (_binfmt, "bm_bpf_kfunc_filter() in fs/binfmt_misc_bpf.c, 7.3"),
    "bpf_ksock_kfunc_filter": (_ksock, "bpf_ksock_kfunc_filter() in net/core/bpf_ksock.c, 7.3"),
    "bpf_get_fsverity_digest_filter": (
        _lsm,
        "bpf_get_fsverity_digest_filter() in fs/verity/measure.c, 6.8",
    ),
    "bpf_qdisc_kfunc_filter": (_qdisc, "bpf_qdisc_kfunc_filter() in net/sched/bpf_qdisc.c, 6.16"),
    "scx_kfunc_context_filter": (_scx, "scx_kfunc_context_filter() in kernel/sched/ext.c, 7.1"),
}
KNOWN_FILTERS: Final = frozenset(_FILTERS)
"""Names of the filters that there are rules for."""


def admits(filter_name: str, kfunc: str, caller: Caller, ask: Ask) -> Ruling:
    """Whether a filter lets a program call a kfunc of a set that names it.

    The program's type must be one that the set is registered for. UNKNOWN for a filter without a rule, and
    where the answer hangs on what is not known of the program.
    """
    try:
        rule, source = _FILTERS[filter_name]
    except KeyError:
        return _unknown(f"its filter {filter_name} is not known", "struct btf_kfunc_id_set")
    return rule(kfunc, caller, ask, source)


def admitted_by_all(filter_names: Iterable[str], kfunc: str, caller: Caller, ask: Ask) -> Ruling:
    """The answer of all filters of a hook together: one no is enough, all must say yes."""
    rulings = [admits(name, kfunc, caller, ask) for name in filter_names]
    for wanted in (Allowed.NO, Allowed.UNKNOWN):
        for ruling in rulings:
            if ruling.allowed is wanted:
                return ruling
    return _YES
