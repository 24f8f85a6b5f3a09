# SPDX-License-Identifier: Apache-2.0
"""Capabilities that loading and attaching ask for (bpf_prog_load() in kernel/bpf/syscall.c, since 5.8)."""

from __future__ import annotations

from typing import Final

from holdfast.terms import ProgramType as P

__all__ = ["to_attach", "to_load"]

_NET_ADMIN: Final = frozenset(  # is_net_admin_prog_type()
    {
        P.SCHED_CLS,
        P.SCHED_ACT,
        P.XDP,
        P.LWT_IN,
        P.LWT_OUT,
        P.LWT_XMIT,
        P.LWT_SEG6LOCAL,
        P.SK_SKB,
        P.SK_MSG,
        P.FLOW_DISSECTOR,
        P.CGROUP_DEVICE,
        P.CGROUP_SOCK,
        P.CGROUP_SOCK_ADDR,
        P.CGROUP_SOCKOPT,
        P.CGROUP_SYSCTL,
        P.SOCK_OPS,
        P.NETFILTER,
        P.EXT,
    }
)
_PERFMON: Final = frozenset(  # is_perfmon_prog_type()
    {
        P.KPROBE,
        P.TRACEPOINT,
        P.PERF_EVENT,
        P.RAW_TRACEPOINT,
        P.RAW_TRACEPOINT_WRITABLE,
        P.TRACING,
        P.LSM,
        P.STRUCT_OPS,
        P.EXT,
    }
)
_CGROUP: Final = frozenset(p for p in P if p.name.startswith("CGROUP_")) | {P.SOCK_OPS}


def to_load(program_type: P) -> tuple[str, ...]:
    """Capabilities that BPF_PROG_LOAD asks for; CAP_SYS_ADMIN replaces them all.

    With ``kernel.unprivileged_bpf_disabled`` 0 a SOCKET_FILTER or CGROUP_SKB program of stable helpers needs
    none.
    """
    wanted = ["CAP_BPF"]
    if program_type in _NET_ADMIN:
        wanted.append("CAP_NET_ADMIN")
    if program_type in _PERFMON:
        wanted.append("CAP_PERFMON")
    return tuple(wanted)


def to_attach(program_type: P) -> tuple[str, ...]:
    """Capabilities that attaching asks for on top of a descriptor of the program.

    Perf events, kprobes and tracepoints: CAP_PERFMON (perf_event_open); network devices: CAP_NET_ADMIN in
    their network namespace; cgroups: CAP_NET_ADMIN; BTF tracing, LSM and struct_ops ask only at load.
    """
    if program_type in (P.KPROBE, P.TRACEPOINT, P.PERF_EVENT):
        return ("CAP_PERFMON",)
    if (
        program_type in (P.SCHED_CLS, P.SCHED_ACT, P.XDP, P.NETFILTER, P.FLOW_DISSECTOR)
        or program_type in _CGROUP
    ):
        return ("CAP_NET_ADMIN",)
    return ()
