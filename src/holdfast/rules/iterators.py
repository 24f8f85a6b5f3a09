# SPDX-License-Identifier: Apache-2.0
"""Iterators: how a kernel shows them in BTF, and which let their program sleep.

DEFINE_BPF_ITER_FUNC and struct bpf_iter_reg of each iterator, trees 5.10 to 7.1.
"""

from __future__ import annotations

from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since

__all__ = ["ITERATORS", "exists", "sleepable"]

# Those of the trees that were read and of the BTF of a running 6.18. Whether a name not in here is an
# iterator is told by BTF alone.
ITERATORS: Final = frozenset(
    {
        *("bpf_link", "bpf_map", "bpf_map_elem", "bpf_prog", "bpf_sk_storage_map", "cgroup", "dmabuf"),
        *("ipv6_route", "kmem_cache", "ksym", "netlink", "sockmap", "task", "task_file", "task_vma"),
        *("tcp", "udp", "unix"),
    }
)
# BPF_ITER_RESCHED in the iterator's feature
_RESCHED: Final = frozenset({"cgroup", "dmabuf", "kmem_cache", "task", "task_file", "task_vma"})
_OTHERS: Final = frozenset(
    {"bpf_link", "bpf_map", "bpf_map_elem", "bpf_prog", "bpf_sk_storage_map", "sockmap"}
)


def exists(name: str, ask: Ask) -> Ruling:
    """Whether the kernel has iterator ``<name>`` (SEC("iter/<name>")): FUNC ``bpf_iter_<name>`` in vmlinux
    BTF.

    Many functions begin so; the context struct ``bpf_iter__<name>`` tells an iterator's from the others.
    """
    function = ask.btf(Sign.func(f"bpf_iter_{name}"))
    context = ask.btf(Sign.struct(f"bpf_iter__{name}"))
    source = f"FUNC bpf_iter_{name} and struct bpf_iter__{name} in BTF"
    if function is None:
        return Ruling(
            Allowed.UNKNOWN, f"without BTF nothing tells whether there is an iterator {name}", source
        )
    if not function or context is False:
        return Ruling(Allowed.NO, f"this kernel has no iterator {name}", source)
    return Ruling(Allowed.YES, "", source)


def sleepable(name: str, ask: Ask) -> Ruling:
    """Whether a sleepable program can be attached to the iterator (bpf_iter_link_attach; it loads in any
    case).
    """
    source = "bpf_iter_link_attach in kernel/bpf/bpf_iter.c"
    if name in _RESCHED:
        there = since(ask, (6, 1))
        if there:
            return Ruling(Allowed.YES, "", source)
        allowed = Allowed.NO if since(ask, (5, 11)) is False else Allowed.UNKNOWN
        return Ruling(allowed, "sleepable iterators came between the 5.10 and 6.1 trees", source)
    if name in _OTHERS:
        return Ruling(Allowed.NO, f"iterator {name} does not let its program sleep", source)
    return Ruling(Allowed.UNKNOWN, f"nothing tells whether iterator {name} lets its program sleep", source)
