# SPDX-License-Identifier: Apache-2.0
"""libbpf's section names: what ``SEC("...")`` says of a program.

The rows are libbpf's ``section_defs`` (libbpf.c, releases 1.0 to 1.8) in its order, which matters because the
first that matches wins; ``since`` is the release that brought a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto
from functools import lru_cache
from typing import Final

from holdfast.terms import AttachType as A
from holdfast.terms import ProgramType as P

__all__ = ["SECTION_DEFS", "SectionDef", "SectionFlag", "find_section"]


class SectionFlag(Flag):
    """``enum sec_def_flags`` of libbpf.c."""

    ATTACH_BTF = auto()  # the name after "/" is looked up in BTF at load
    SLEEPABLE = auto()  # loaded with BPF_F_SLEEPABLE
    ATTACHABLE = auto()  # expected_attach_type is always passed
    ATTACHABLE_OPT = auto()  # ... and dropped where the kernel does not know the field
    XDP_FRAGS = auto()  # loaded with BPF_F_XDP_HAS_FRAGS
    USDT = auto()  # becomes uprobe_multi where the kernel has that link


F = SectionFlag
NONE = SectionFlag(0)


@dataclass(frozen=True, slots=True)
class SectionDef:
    """One row: ``name`` ends in ``+`` where ``/something`` may follow; ``auto``: libbpf can attach it by
    itself.
    """

    name: str
    type: P
    attach_type: A | None
    flags: SectionFlag
    since: tuple[int, int]
    auto: bool

    @property
    def sleepable(self) -> bool:
        return F.SLEEPABLE in self.flags

    @property
    def attaches_by_btf(self) -> bool:
        return F.ATTACH_BTF in self.flags

    def matches(self, section: str) -> bool:
        """``sec_def_matches()``: exact, or for ``+`` also with ``/something`` behind it."""
        if self.name.endswith("+"):
            stem = self.name[:-1]
            return section == stem or section.startswith(stem + "/")
        return section == self.name


def _def(
    name: str,
    kind: P,
    attach: A | None,
    flags: SectionFlag,
    *,
    since: tuple[int, int] = (1, 0),
    auto: bool = False,
) -> SectionDef:
    return SectionDef(name, kind, attach, flags, since, auto)


SECTION_DEFS: Final[tuple[SectionDef, ...]] = (
    _def("socket", P.SOCKET_FILTER, None, NONE),
    _def("sk_reuseport/migrate", P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT_OR_MIGRATE, F.ATTACHABLE),
    _def("sk_reuseport", P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT, F.ATTACHABLE),
    _def("kprobe+", P.KPROBE, None, NONE, auto=True),
    _def("uprobe+", P.KPROBE, None, NONE, auto=True),
    _def("uprobe.s+", P.KPROBE, None, F.SLEEPABLE, auto=True),
    _def("kretprobe+", P.KPROBE, None, NONE, auto=True),
    _def("uretprobe+", P.KPROBE, None, NONE, auto=True),
    _def("uretprobe.s+", P.KPROBE, None, F.SLEEPABLE, auto=True),
    _def("kprobe.multi+", P.KPROBE, A.TRACE_KPROBE_MULTI, NONE, auto=True),
    _def("kretprobe.multi+", P.KPROBE, A.TRACE_KPROBE_MULTI, NONE, auto=True),
    _def("kprobe.session+", P.KPROBE, A.TRACE_KPROBE_SESSION, NONE, since=(1, 5), auto=True),
    _def("uprobe.multi+", P.KPROBE, A.TRACE_UPROBE_MULTI, NONE, since=(1, 3), auto=True),
    _def("uretprobe.multi+", P.KPROBE, A.TRACE_UPROBE_MULTI, NONE, since=(1, 3), auto=True),
    _def("uprobe.session+", P.KPROBE, A.TRACE_UPROBE_SESSION, NONE, since=(1, 6), auto=True),
    _def("uprobe.multi.s+", P.KPROBE, A.TRACE_UPROBE_MULTI, F.SLEEPABLE, since=(1, 3), auto=True),
    _def("uretprobe.multi.s+", P.KPROBE, A.TRACE_UPROBE_MULTI, F.SLEEPABLE, since=(1, 3), auto=True),
    _def("uprobe.session.s+", P.KPROBE, A.TRACE_UPROBE_SESSION, F.SLEEPABLE, since=(1, 6), auto=True),
    _def("ksyscall+", P.KPROBE, None, NONE, auto=True),
    _def("kretsyscall+", P.KPROBE, None, NONE, auto=True),
    _def("usdt+", P.KPROBE, None, F.USDT, auto=True),
    _def("usdt.s+", P.KPROBE, None, F.USDT | F.SLEEPABLE, since=(1, 3), auto=True),
    _def("tc/ingress", P.SCHED_CLS, A.TCX_INGRESS, NONE, since=(1, 3)),
    _def("tc/egress", P.SCHED_CLS, A.TCX_EGRESS, NONE, since=(1, 3)),
    _def("tcx/ingress", P.SCHED_CLS, A.TCX_INGRESS, NONE, since=(1, 3)),
    _def("tcx/egress", P.SCHED_CLS, A.TCX_EGRESS, NONE, since=(1, 3)),
    _def("tc", P.SCHED_CLS, None, NONE),
    _def("classifier", P.SCHED_CLS, None, NONE),
    _def("action", P.SCHED_ACT, None, NONE),
    _def("netkit/primary", P.SCHED_CLS, A.NETKIT_PRIMARY, NONE, since=(1, 3)),
    _def("netkit/peer", P.SCHED_CLS, A.NETKIT_PEER, NONE, since=(1, 3)),
    _def("tracepoint+", P.TRACEPOINT, None, NONE, auto=True),
    _def("tp+", P.TRACEPOINT, None, NONE, auto=True),
    _def("tracepoint.s+", P.TRACEPOINT, None, F.SLEEPABLE, since=(1, 8), auto=True),
    _def("tp.s+", P.TRACEPOINT, None, F.SLEEPABLE, since=(1, 8), auto=True),
    _def("raw_tracepoint+", P.RAW_TRACEPOINT, None, NONE, auto=True),
    _def("raw_tp+", P.RAW_TRACEPOINT, None, NONE, auto=True),
    _def("raw_tracepoint.s+", P.RAW_TRACEPOINT, None, F.SLEEPABLE, since=(1, 8), auto=True),
    _def("raw_tp.s+", P.RAW_TRACEPOINT, None, F.SLEEPABLE, since=(1, 8), auto=True),
    _def("raw_tracepoint.w+", P.RAW_TRACEPOINT_WRITABLE, None, NONE, auto=True),
    _def("raw_tp.w+", P.RAW_TRACEPOINT_WRITABLE, None, NONE, auto=True),
    _def("tp_btf+", P.TRACING, A.TRACE_RAW_TP, F.ATTACH_BTF, auto=True),
    _def("tp_btf.s+", P.TRACING, A.TRACE_RAW_TP, F.ATTACH_BTF | F.SLEEPABLE, since=(1, 8), auto=True),
    _def("fentry+", P.TRACING, A.TRACE_FENTRY, F.ATTACH_BTF, auto=True),
    _def("fmod_ret+", P.TRACING, A.MODIFY_RETURN, F.ATTACH_BTF, auto=True),
    _def("fexit+", P.TRACING, A.TRACE_FEXIT, F.ATTACH_BTF, auto=True),
    _def("fentry.s+", P.TRACING, A.TRACE_FENTRY, F.ATTACH_BTF | F.SLEEPABLE, auto=True),
    _def("fmod_ret.s+", P.TRACING, A.MODIFY_RETURN, F.ATTACH_BTF | F.SLEEPABLE, auto=True),
    _def("fexit.s+", P.TRACING, A.TRACE_FEXIT, F.ATTACH_BTF | F.SLEEPABLE, auto=True),
    _def("fsession+", P.TRACING, A.TRACE_FSESSION, F.ATTACH_BTF, since=(1, 7), auto=True),
    _def("fsession.s+", P.TRACING, A.TRACE_FSESSION, F.ATTACH_BTF | F.SLEEPABLE, since=(1, 7), auto=True),
    _def("fsession.multi+", P.TRACING, A.TRACE_FSESSION_MULTI, NONE, since=(1, 8), auto=True),
    _def("fsession.multi.s+", P.TRACING, A.TRACE_FSESSION_MULTI, F.SLEEPABLE, since=(1, 8), auto=True),
    _def("fentry.multi+", P.TRACING, A.TRACE_FENTRY_MULTI, NONE, since=(1, 8), auto=True),
    _def("fexit.multi+", P.TRACING, A.TRACE_FEXIT_MULTI, NONE, since=(1, 8), auto=True),
    _def("fentry.multi.s+", P.TRACING, A.TRACE_FENTRY_MULTI, F.SLEEPABLE, since=(1, 8), auto=True),
    _def("fexit.multi.s+", P.TRACING, A.TRACE_FEXIT_MULTI, F.SLEEPABLE, since=(1, 8), auto=True),
    _def("freplace+", P.EXT, None, F.ATTACH_BTF, auto=True),
    _def("lsm+", P.LSM, A.LSM_MAC, F.ATTACH_BTF, auto=True),
    _def("lsm.s+", P.LSM, A.LSM_MAC, F.ATTACH_BTF | F.SLEEPABLE, auto=True),
    _def("lsm_cgroup+", P.LSM, A.LSM_CGROUP, F.ATTACH_BTF),
    _def("iter+", P.TRACING, A.TRACE_ITER, F.ATTACH_BTF, auto=True),
    _def("iter.s+", P.TRACING, A.TRACE_ITER, F.ATTACH_BTF | F.SLEEPABLE, auto=True),
    _def("syscall", P.SYSCALL, None, F.SLEEPABLE),
    _def("xdp.frags/devmap", P.XDP, A.XDP_DEVMAP, F.XDP_FRAGS),
    _def("xdp/devmap", P.XDP, A.XDP_DEVMAP, F.ATTACHABLE),
    _def("xdp.frags/cpumap", P.XDP, A.XDP_CPUMAP, F.XDP_FRAGS),
    _def("xdp/cpumap", P.XDP, A.XDP_CPUMAP, F.ATTACHABLE),
    _def("xdp.frags", P.XDP, A.XDP, F.XDP_FRAGS),
    _def("xdp", P.XDP, A.XDP, F.ATTACHABLE_OPT),
    _def("perf_event", P.PERF_EVENT, None, NONE),
    _def("lwt_in", P.LWT_IN, None, NONE),
    _def("lwt_out", P.LWT_OUT, None, NONE),
    _def("lwt_xmit", P.LWT_XMIT, None, NONE),
    _def("lwt_seg6local", P.LWT_SEG6LOCAL, None, NONE),
    _def("sockops", P.SOCK_OPS, A.CGROUP_SOCK_OPS, F.ATTACHABLE_OPT),
    _def("sk_skb/stream_parser", P.SK_SKB, A.SK_SKB_STREAM_PARSER, F.ATTACHABLE_OPT),
    _def("sk_skb/stream_verdict", P.SK_SKB, A.SK_SKB_STREAM_VERDICT, F.ATTACHABLE_OPT),
    _def("sk_skb/verdict", P.SK_SKB, A.SK_SKB_VERDICT, F.ATTACHABLE_OPT, since=(1, 4)),
    _def("sk_skb", P.SK_SKB, None, NONE),
    _def("sk_msg", P.SK_MSG, A.SK_MSG_VERDICT, F.ATTACHABLE_OPT),
    _def("lirc_mode2", P.LIRC_MODE2, A.LIRC_MODE2, F.ATTACHABLE_OPT),
    _def("flow_dissector", P.FLOW_DISSECTOR, A.FLOW_DISSECTOR, F.ATTACHABLE_OPT),
    _def("cgroup_skb/ingress", P.CGROUP_SKB, A.CGROUP_INET_INGRESS, F.ATTACHABLE_OPT),
    _def("cgroup_skb/egress", P.CGROUP_SKB, A.CGROUP_INET_EGRESS, F.ATTACHABLE_OPT),
    _def("cgroup/skb", P.CGROUP_SKB, None, NONE),
    _def("cgroup/sock_create", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE, F.ATTACHABLE),
    _def("cgroup/sock_release", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_RELEASE, F.ATTACHABLE),
    _def("cgroup/sock", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE, F.ATTACHABLE_OPT),
    _def("cgroup/post_bind4", P.CGROUP_SOCK, A.CGROUP_INET4_POST_BIND, F.ATTACHABLE),
    _def("cgroup/post_bind6", P.CGROUP_SOCK, A.CGROUP_INET6_POST_BIND, F.ATTACHABLE),
    _def("cgroup/bind4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_BIND, F.ATTACHABLE),
    _def("cgroup/bind6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_BIND, F.ATTACHABLE),
    _def("cgroup/connect4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_CONNECT, F.ATTACHABLE),
    _def("cgroup/connect6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_CONNECT, F.ATTACHABLE),
    _def("cgroup/connect_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_CONNECT, F.ATTACHABLE, since=(1, 3)),
    _def("cgroup/sendmsg4", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP4_SENDMSG, F.ATTACHABLE),
    _def("cgroup/sendmsg6", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP6_SENDMSG, F.ATTACHABLE),
    _def("cgroup/sendmsg_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_SENDMSG, F.ATTACHABLE, since=(1, 3)),
    _def("cgroup/recvmsg4", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP4_RECVMSG, F.ATTACHABLE),
    _def("cgroup/recvmsg6", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP6_RECVMSG, F.ATTACHABLE),
    _def("cgroup/recvmsg_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_RECVMSG, F.ATTACHABLE, since=(1, 3)),
    _def("cgroup/getpeername4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_GETPEERNAME, F.ATTACHABLE),
    _def("cgroup/getpeername6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_GETPEERNAME, F.ATTACHABLE),
    _def(
        "cgroup/getpeername_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_GETPEERNAME, F.ATTACHABLE, since=(1, 3)
    ),
    _def("cgroup/getsockname4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_GETSOCKNAME, F.ATTACHABLE),
    _def("cgroup/getsockname6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_GETSOCKNAME, F.ATTACHABLE),
    _def(
        "cgroup/getsockname_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_GETSOCKNAME, F.ATTACHABLE, since=(1, 3)
    ),
    _def("cgroup/sysctl", P.CGROUP_SYSCTL, A.CGROUP_SYSCTL, F.ATTACHABLE),
    _def("cgroup/getsockopt", P.CGROUP_SOCKOPT, A.CGROUP_GETSOCKOPT, F.ATTACHABLE),
    _def("cgroup/setsockopt", P.CGROUP_SOCKOPT, A.CGROUP_SETSOCKOPT, F.ATTACHABLE),
    _def("cgroup/dev", P.CGROUP_DEVICE, A.CGROUP_DEVICE, F.ATTACHABLE_OPT),
    _def("struct_ops+", P.STRUCT_OPS, None, NONE),
    _def("struct_ops.s+", P.STRUCT_OPS, None, F.SLEEPABLE, since=(1, 2)),
    _def("sk_lookup", P.SK_LOOKUP, A.SK_LOOKUP, F.ATTACHABLE),
    _def("netfilter", P.NETFILTER, A.NETFILTER, NONE, since=(1, 3)),
)
"""All rows, in libbpf's order."""


@lru_cache(4096)
def find_section(section: str, libbpf: tuple[int, int] | None = None) -> SectionDef | None:
    """The row for a section name (without the ``?`` that may stand before it), None if libbpf knows none.

    ``libbpf`` restricts the search to the rows of that release.
    """
    for row in SECTION_DEFS:
        if row.matches(section) and (libbpf is None or row.since <= libbpf):
            return row
    return None
