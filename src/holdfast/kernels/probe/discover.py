# SPDX-License-Identifier: Apache-2.0
"""Finds kfuncs by asking, for a kernel whose BTF does not tag them and whose .BTF_ids nobody read.

A call of a function that is no kfunc is refused from every program type, so functions whose names may be a
kfunc's are tried from a type of each hook (``bpf_prog_type_to_kfunc_hook()``, which shares one among
several types).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from holdfast.btf.types import Kind
from holdfast.kernels.probe.calls import Prober
from holdfast.kernels.probe.contexts import Context
from holdfast.terms import AttachType, ProgramType

__all__ = ["candidates", "is_kfunc", "may_be"]

# All kfuncs of 5.13 to 7.2 have bpf in their names, except those of congestion control and of the cgroups'
# statistics, crash_kexec and two of 7.x's allocator.
_NAME: Final = re.compile(
    r"bpf_|_bpf|^(bbr|cubictcp|dctcp)_|^tcp_(slow_start|cong_avoid_ai|reno_\w+)$|^(cgroup|css)_rstat_\w+$"
    r"|^crash_kexec$|^bpf\w|^kmalloc_nolock|^kfree_nolock"
)
# Never a kfunc: BPF's own machinery, functions that make iterators and LSM hooks attachable, tests' doubles.
_NOT: Final = re.compile(
    r"^(bpf_lsm_|bpf_iter_(init|fini|reg)|_*bpf_prog_|__bpf_trace_|__x64_|__ia32_|__se_|bpf_map_(?!sum_))"
    r"|^bpf_\w+_(is_valid_access|func_proto|convert_ctx_access|seq_\w+|show_fdinfo)$|_cold$|^__pfx_|\."
)
# Filters of registrations look at the function of these: they are tried from every one.
_BY_FUNCTION: Final = re.compile(r"^scx_|qdisc")
# Refused before the call is looked at, from everything that is not bound to a device.
_DEVICE_BOUND: Final = "bpf_xdp_metadata_rx_"
# One of each hook, the busiest first; where filters look at the attach type, those that they tell apart.
_HOOKS: Final[tuple[tuple[ProgramType, AttachType | None], ...]] = (
    (ProgramType.SYSCALL, None),
    (ProgramType.TRACING, AttachType.TRACE_ITER),
    (ProgramType.TRACING, AttachType.TRACE_RAW_TP),
    (ProgramType.SCHED_CLS, None),
    (ProgramType.XDP, AttachType.XDP),
    (ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
    (ProgramType.KPROBE, AttachType.TRACE_KPROBE_SESSION),
    (ProgramType.SOCKET_FILTER, None),
    (ProgramType.CGROUP_SKB, AttachType.CGROUP_INET_INGRESS),
    (ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT),
    (ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UNIX_CONNECT),
    (ProgramType.SOCK_OPS, None),
    (ProgramType.SCHED_ACT, None),
    (ProgramType.SK_SKB, None),
    (ProgramType.LWT_IN, None),
    (ProgramType.NETFILTER, None),
    (ProgramType.LSM, AttachType.LSM_MAC),
    (ProgramType.TRACING, AttachType.TRACE_FENTRY),
)


def may_be(name: str) -> bool:
    """Whether a function of that name is worth trying."""
    return _NAME.search(name) is not None and _NOT.search(name) is None


def candidates(prober: Prober) -> list[str]:
    """Names of functions in BTF that might be kfuncs, sorted; none for a kernel that cannot call any."""
    if prober.calls_kfuncs() is False:
        return []
    found = set()
    vmlinux = prober.loader.vmlinux
    for btf in [*([vmlinux] if vmlinux else []), *prober.loader.modules.values()]:
        for type_id in btf.own_of_kind(Kind.FUNC):
            name = btf.name(type_id)
            if may_be(name):
                found.add(name)
    return sorted(found)


def is_kfunc(prober: Prober, name: str) -> bool:
    """Whether this kernel admits a call of the function from any hook, or refuses it for its device alone."""
    function = prober.find(name)
    if function is None:
        return False
    return name.startswith(_DEVICE_BOUND) or any(
        prober.loads(context) and prober.kfunc_in(function, context).registered
        for context in _contexts(prober, name)
    )


def _contexts(prober: Prober, name: str) -> Iterator[Context]:
    for hook, attach_type in _HOOKS:
        yield from prober.contexts(hook, attach_type, None if hook is ProgramType.SYSCALL else False)[:1]
    seen = set()
    for context in prober.contexts(ProgramType.STRUCT_OPS):
        if context.target is not None and (context.target.name not in seen or _BY_FUNCTION.search(name)):
            seen.add(context.target.name)
            yield context
