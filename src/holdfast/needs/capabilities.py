# SPDX-License-Identifier: Apache-2.0
"""Capabilities that loading and attaching ask for (bpf_prog_load() in kernel/bpf/syscall.c, since 5.8)."""

from __future__ import annotations

from typing import Final

from holdfast.rules.program_types import rule
from holdfast.terms import ProgramType as P

__all__ = ["to_attach", "to_load"]

_CGROUP: Final = frozenset(p for p in P if p.name.startswith("CGROUP_")) | {P.SOCK_OPS}


def to_load(program_type: P) -> tuple[str, ...]:
    """Capabilities that BPF_PROG_LOAD asks for; CAP_SYS_ADMIN replaces them all.

    With ``kernel.unprivileged_bpf_disabled`` 0 a SOCKET_FILTER or CGROUP_SKB program of stable helpers needs
    none.
    """
    return rule(program_type).capabilities if program_type is not P.UNSPEC else ("CAP_BPF",)


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
