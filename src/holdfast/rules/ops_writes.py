# SPDX-License-Identifier: Apache-2.0
"""Which members of the kernel's structs a struct_ops program may write to.

The ``btf_struct_access`` of the ``bpf_verifier_ops`` of each struct_ops type: bpf_tcp_ca_btf_struct_access in
net/ipv4/bpf_tcp_ca.c (trees 5.10, 6.1, 6.12, 6.18, 7.2, 7.3), bpf_scx_btf_struct_access in kernel/sched/ext.c
(6.12, 6.18, 7.2, 7.3), hid_bpf_ops_btf_struct_access in drivers/hid/bpf/hid_bpf_struct_ops.c (the same).
Types that are not here are not judged.
"""

from __future__ import annotations

from typing import Final

from holdfast.rules.ask import Ask
from holdfast.rules.eras import since

__all__ = ["JUDGED", "SEEN_AS", "writable"]

_Member = tuple[str, str, tuple[int, int]]

_MEMBERS: Final[dict[str, dict[str, tuple[_Member, ...]]]] = {
    "tcp_congestion_ops": {
        "tcp_sock": (
            ("inet_connection_sock", "icsk_ca_priv", (5, 10)),
            ("inet_connection_sock", "icsk_ack.pending", (5, 10)),
            ("tcp_sock", "snd_cwnd", (5, 10)),
            ("tcp_sock", "snd_cwnd_cnt", (5, 10)),
            ("tcp_sock", "snd_ssthresh", (5, 10)),
            ("tcp_sock", "ecn_flags", (5, 10)),
            # Not in the 5.10 tree, in that of 6.1.
            ("sock", "sk_pacing_rate", (5, 11)),
            ("sock", "sk_pacing_status", (5, 11)),
            # Not in the 6.1 tree, in that of 6.12.
            ("tcp_sock", "snd_cwnd_stamp", (6, 2)),
            ("tcp_sock", "app_limited", (6, 2)),
        ),
    },
    "sched_ext_ops": {
        "task_struct": (
            ("task_struct", "scx.slice", (6, 12)),
            ("task_struct", "scx.dsq_vtime", (6, 12)),
            ("task_struct", "scx.disallow", (6, 12)),
        ),
    },
    "hid_bpf_ops": {
        "hid_bpf_ctx": (("hid_bpf_ctx", "retval", (6, 11)),),
        "hid_device": (
            ("hid_device", "name", (6, 11)),
            ("hid_device", "uniq", (6, 11)),
            ("hid_device", "phys", (6, 11)),
        ),
    },
}
"""Type -> struct -> (struct that has the member and stands at its beginning, member, release from which on it
may be open)."""

JUDGED: Final = frozenset(_MEMBERS)
"""The struct_ops types that are judged here."""

SEEN_AS: Final = {("tcp_congestion_ops", "sock"): "tcp_sock"}
"""(type, struct of an argument) -> the struct that programs get: bpf_tcp_ca_is_valid_access, 5.10 to 7.3."""


def writable(type_name: str, struct: str, ask: Ask) -> tuple[tuple[str, str], ...]:
    """(struct, member) of all that programs of a judged type may write to in such a struct, those included
    that only may be open; empty for a struct that they may only read.
    """
    members = _MEMBERS[type_name].get(struct, ())
    return tuple((owner, name) for owner, name, release in members if since(ask, release) is not False)
