# SPDX-License-Identifier: Apache-2.0
"""Known wrong behaviour: kfuncs that exist, load, and do not do what their name says on some kernels.

A row is here only with the commit, or the file of a release that was read, that shows it. Where BTF tells the
kernels apart it is asked; a release range stands only where nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.types import Kind, Struct
from holdfast.history.versions import Series
from holdfast.kernels.facts import KernelFacts
from holdfast.terms import Evidence

__all__ = ["KNOWN", "Wrong", "wrong_on"]

_Sign = Callable[[KernelFacts, Btf | None], str | None]


@dataclass(frozen=True, slots=True)
class Wrong:
    """``names`` behave wrongly from series ``since`` to before ``until`` (None: no end is known).

    ``sign``, where there is one, looks at the kernel and at the object's BTF and returns what it found as a
    clause, None when nothing is wrong; the range is not looked at then. Remove a row when no longterm kernel
    is in its range any more.
    """

    names: tuple[str, ...]
    what: str
    hint: str
    source: str
    since: Series = (0, 0)
    until: Series | None = None
    sign: _Sign | None = None


def _ct_opts(facts: KernelFacts, local: Btf | None) -> str | None:
    """struct bpf_ct_opts of the object is larger than the kernel's, which takes its own size alone."""
    theirs = facts.find("bpf_ct_opts", Kind.STRUCT)
    mine = local.candidates("bpf_ct_opts") if local is not None else ()
    if theirs is None or local is None:
        return None
    there = theirs.btf.type(theirs.type_id)
    sizes = [one.size for one in map(local.type, mine) if isinstance(one, Struct) and one.size]
    if isinstance(there, Struct) and sizes and max(sizes) > there.size:
        return f"the object's struct bpf_ct_opts has {max(sizes)} bytes, the kernel's {there.size}"
    return None


KNOWN: Final[tuple[Wrong, ...]] = (
    Wrong(
        ("scx_bpf_dsq_peek",),
        "may return NULL for a queue that is not empty",
        "use the DSQ iterator where the kernel is older than 7.1",
        "tools/sched_ext/include/scx/compat.bpf.h of 7.3, which asks LINUX_KERNEL_VERSION for 7.1",
        since=(6, 19),
        until=(7, 1),
    ),
    Wrong(
        ("bpf_xdp_ct_alloc", "bpf_xdp_ct_lookup", "bpf_skb_ct_alloc", "bpf_skb_ct_lookup"),
        "the kernel refuses a size of options that it does not know: the call fails with -EINVAL at run time",
        "pass the size that bpf_core_type_size(struct bpf_ct_opts) gives, 12 or 16",
        "net/netfilter/nf_conntrack_bpf.c: NF_BPF_CT_OPTS_SZ is 12 in 6.1, 16 beside 12 in 6.12",
        sign=_ct_opts,
    ),
)


def wrong_on(
    name: str, facts: KernelFacts, series: Series, local: Btf | None
) -> list[tuple[Wrong, str, Evidence]]:
    """What is known to be wrong with a kfunc on that kernel, with the text and what it rests on.

    ``local`` is the BTF of the object that calls it, None where no object is meant.
    """
    found = []
    for row in KNOWN:
        if name not in row.names:
            continue
        if row.sign is not None:
            clause = row.sign(facts, local)
            if clause:
                found.append((row, f"{row.what}; {clause}", Evidence.BTF))
        elif row.since <= series and (row.until is None or series < row.until):
            found.append((row, row.what, Evidence.RULE))
    return found
