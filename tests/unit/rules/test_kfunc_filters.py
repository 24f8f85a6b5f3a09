# SPDX-License-Identifier: Apache-2.0
"""Filters of kfunc sets against cases taken from the kernel's source by hand."""

from __future__ import annotations

import pytest

from holdfast.rules.ask import Allowed, Nothing, Sign
from holdfast.rules.kfunc_filters import Caller, admits, admitted_by_all
from holdfast.terms import AttachType, ProgramType

YES, NO, UNKNOWN = Allowed.YES, Allowed.NO, Allowed.UNKNOWN
P, A = ProgramType, AttachType


class Kernel(Nothing):
    """Answers for the signs that are asked: those that are named are there."""

    def __init__(self, *there: Sign) -> None:
        self.there = there

    def btf(self, sign: Sign) -> bool | None:
        return sign in self.there


UPROBE = Sign.value("bpf_attach_type", "BPF_TRACE_UPROBE_SESSION")
CID = Sign.struct("sched_ext_ops_cid")
INIT_CIDS = Sign.member("sched_ext_ops", "init_cids")
SCX = "scx_kfunc_context_filter"


def ops(struct: str | None, member: str | None = None) -> Caller:
    return Caller(P.STRUCT_OPS, struct_ops=struct, member=member)


def on_hook(target: str) -> Caller:
    return Caller(P.LSM, A.LSM_MAC, target=target)


@pytest.mark.parametrize(
    ("name", "kfunc", "caller", "kernel", "expected"),
    [
        ("tracing_iter_filter", "bpf_sock_destroy", Caller(P.TRACING, A.TRACE_ITER), Kernel(), YES),
        ("tracing_iter_filter", "bpf_sock_destroy", Caller(P.TRACING, A.TRACE_FENTRY), Kernel(), NO),
        ("tracing_iter_filter", "bpf_sock_destroy", Caller(P.TRACING), Kernel(), UNKNOWN),
        ("bpf_kprobe_multi_filter", "x", Caller(P.KPROBE, A.TRACE_KPROBE_SESSION), Kernel(), YES),
        ("bpf_kprobe_multi_filter", "x", Caller(P.KPROBE, A.TRACE_UPROBE_SESSION), Kernel(), NO),
        ("bpf_kprobe_multi_filter", "x", Caller(P.KPROBE, A.TRACE_UPROBE_SESSION), Kernel(UPROBE), YES),
        ("bpf_kprobe_multi_filter", "x", Caller(P.KPROBE, A.TRACE_UPROBE_SESSION), Nothing(), UNKNOWN),
        ("bpf_kprobe_multi_filter", "x", Caller(P.KPROBE, A.TRACE_KPROBE_MULTI), Kernel(UPROBE), NO),
        ("bpf_session_filter", "x", Caller(P.TRACING, A.TRACE_FSESSION), Kernel(), YES),
        ("bpf_session_filter", "x", Caller(P.KPROBE, A.TRACE_FSESSION), Kernel(), NO),
        ("bpf_session_filter", "x", Caller(P.LSM, A.LSM_MAC), Kernel(), NO),
        ("bpf_session_filter", "x", Caller(P.LSM), Kernel(), NO),
        ("bpf_fs_kfuncs_filter", "bpf_put_file", Caller(P.LSM), Kernel(), YES),
        ("bpf_fs_kfuncs_filter", "bpf_put_file", Caller(P.TRACING), Kernel(), NO),
        ("bpf_get_fsverity_digest_filter", "x", Caller(P.PERF_EVENT), Kernel(), NO),
        ("bpf_qdisc_kfunc_filter", "bpf_kfree_skb", ops("Qdisc_ops", "reset"), Kernel(), YES),
        ("bpf_qdisc_kfunc_filter", "bpf_kfree_skb", ops("Qdisc_ops"), Kernel(), YES),
        ("bpf_qdisc_kfunc_filter", "bpf_kfree_skb", ops("tcp_congestion_ops"), Kernel(), NO),
        ("bpf_qdisc_kfunc_filter", "bpf_kfree_skb", ops(None), Kernel(), UNKNOWN),
        ("bpf_qdisc_kfunc_filter", "bpf_qdisc_skb_drop", ops("Qdisc_ops", "enqueue"), Kernel(), YES),
        ("bpf_qdisc_kfunc_filter", "bpf_qdisc_skb_drop", ops("Qdisc_ops", "dequeue"), Kernel(), NO),
        ("bpf_qdisc_kfunc_filter", "bpf_qdisc_skb_drop", ops("Qdisc_ops"), Kernel(), UNKNOWN),
        ("bpf_qdisc_kfunc_filter", "bpf_qdisc_init_prologue", ops("Qdisc_ops", "init"), Kernel(), NO),
        ("scx_kfunc_context_filter", "scx_bpf_now", Caller(P.TRACING), Kernel(), YES),
        ("scx_kfunc_context_filter", "scx_bpf_now", Caller(P.TRACING), Nothing(), YES),
        ("scx_kfunc_context_filter", "scx_bpf_now", ops("sched_ext_ops", "running"), Nothing(), UNKNOWN),
        ("scx_kfunc_context_filter", "scx_bpf_now", ops("sched_ext_ops", "running"), Kernel(), YES),
        ("scx_kfunc_context_filter", "scx_bpf_now", ops("Qdisc_ops", "init"), Kernel(), NO),
        ("scx_kfunc_context_filter", "scx_bpf_dsq_insert", ops("sched_ext_ops", "dispatch"), Kernel(), YES),
        ("scx_kfunc_context_filter", "scx_bpf_dsq_insert", ops("sched_ext_ops", "running"), Kernel(), NO),
        ("scx_kfunc_context_filter", "scx_bpf_dsq_insert", ops("sched_ext_ops"), Kernel(), UNKNOWN),
        ("scx_kfunc_context_filter", "scx_bpf_dsq_move", ops("sched_ext_ops", "dispatch"), Kernel(), YES),
        ("scx_kfunc_context_filter", "scx_bpf_dsq_move", ops("sched_ext_ops", "init"), Kernel(), YES),
        ("scx_kfunc_context_filter", "scx_bpf_dsq_move", ops("sched_ext_ops", "enqueue"), Kernel(), NO),
        (
            "scx_kfunc_context_filter",
            "scx_bpf_select_cpu_dfl",
            ops("sched_ext_ops", "enqueue"),
            Kernel(),
            YES,
        ),
        (SCX, "scx_bpf_now", ops("sched_ext_ops_cid", "running"), Kernel(), NO),
        (SCX, "scx_bpf_now", ops("sched_ext_ops_cid", "running"), Kernel(CID), YES),
        (SCX, "scx_bpf_kick_cpu", ops("sched_ext_ops", "running"), Kernel(CID), YES),
        (SCX, "scx_bpf_kick_cpu", ops("sched_ext_ops_cid", "running"), Kernel(CID), NO),
        (SCX, "scx_bpf_cid_override", ops("sched_ext_ops_cid", "init"), Kernel(CID), YES),
        (SCX, "scx_bpf_cid_override", ops("sched_ext_ops_cid", "exit"), Kernel(CID), NO),
        (SCX, "scx_bpf_cid_override", ops("sched_ext_ops_cid", "init"), Kernel(CID, INIT_CIDS), NO),
        (SCX, "scx_bpf_cid_override", ops("sched_ext_ops_cid", "init_cids"), Kernel(CID, INIT_CIDS), YES),
        (SCX, "scx_bpf_create_dsq", ops("sched_ext_ops_cid", "cid_online"), Kernel(CID), YES),
        (SCX, "scx_bpf_create_dsq", ops("sched_ext_ops_cid", "cpu_online"), Kernel(CID), NO),
        (SCX, "scx_bpf_create_dsq", ops("sched_ext_ops_cid", "cpuctl_init"), Kernel(CID, INIT_CIDS), YES),
        (SCX, "scx_bpf_dsq_insert", ops("sched_ext_ops", "sub_ecaps_updated"), Kernel(CID, INIT_CIDS), YES),
        (SCX, "scx_bpf_cpu_to_cid", ops("Qdisc_ops", "init"), Kernel(CID), YES),
        (SCX, "scx_bpf_cpu_to_cid", ops("Qdisc_ops", "init"), Kernel(CID, INIT_CIDS), NO),
        ("bpf_fs_kfuncs_filter", "bpf_put_file", ops("binfmt_misc_ops", "match"), Kernel(), YES),
        ("bpf_fs_kfuncs_filter", "bpf_put_file", ops("Qdisc_ops", "init"), Kernel(), NO),
        ("bpf_fs_kfuncs_filter", "bpf_put_file", ops(None), Kernel(), UNKNOWN),
        ("bpf_fs_kfuncs_filter", "bpf_set_dentry_xattr", ops("binfmt_misc_ops", "match"), Kernel(), NO),
        ("bm_bpf_kfunc_filter", "bpf_binprm_set_interp", ops("binfmt_misc_ops", "load"), Kernel(), YES),
        ("bm_bpf_kfunc_filter", "bpf_binprm_set_interp", ops("binfmt_misc_ops", "match"), Kernel(), NO),
        ("bm_bpf_kfunc_filter", "bpf_binprm_set_interp", ops("binfmt_misc_ops"), Kernel(), UNKNOWN),
        ("bm_bpf_kfunc_filter", "bpf_binprm_set_interp", ops("Qdisc_ops", "load"), Kernel(), NO),
        ("bpf_ksock_kfunc_filter", "bpf_ksock_send", Caller(P.SYSCALL), Kernel(), YES),
        ("bpf_ksock_kfunc_filter", "bpf_ksock_send", Caller(P.TRACING, A.TRACE_FENTRY), Kernel(), NO),
        ("bpf_ksock_kfunc_filter", "bpf_ksock_send", Caller(P.LSM, A.LSM_MAC), Kernel(), UNKNOWN),
        ("bpf_ksock_kfunc_filter", "bpf_ksock_send", on_hook("bpf_lsm_socket_sendmsg"), Kernel(), NO),
        ("bpf_ksock_kfunc_filter", "bpf_ksock_send", on_hook("bpf_lsm_file_open"), Kernel(), YES),
        ("some_new_filter", "bpf_new", Caller(P.SYSCALL), Kernel(), UNKNOWN),
    ],
)
def test_admits(name: str, kfunc: str, caller: Caller, kernel: Nothing, expected: Allowed) -> None:
    ruling = admits(name, kfunc, caller, kernel)
    assert ruling.allowed is expected
    assert expected is YES or (ruling.why and ruling.source)


def test_one_no_among_filters_is_enough() -> None:
    caller = Caller(P.TRACING, A.TRACE_FENTRY)
    names = ("some_new_filter", "bpf_fs_kfuncs_filter")
    assert admitted_by_all(names, "x", caller, Kernel()).allowed is NO
    assert admitted_by_all(names[:1], "x", caller, Kernel()).allowed is UNKNOWN
    assert admitted_by_all((), "x", caller, Kernel()).allowed is YES
