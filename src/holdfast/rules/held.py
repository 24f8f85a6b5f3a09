# SPDX-License-Identifier: Apache-2.0
"""What a program holds and must give back, and what it may not do meanwhile.

check_reference_leak, check_helper_call and check_kfunc_call in kernel/bpf/verifier.c, trees 5.10, 6.1, 6.12,
6.18, 7.2 and 7.3.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.eras import since

__all__ = [
    "ACQUIRED",
    "NULLABLE",
    "SECTIONS",
    "SLEEPING_HELPERS",
    "SPIN_LOCK",
    "TAKES_OVER",
    "Section",
    "call_while_locked",
    "lookup_known",
    "takes_no_null",
]


class Section(IntEnum):
    """What is entered and left; the value is its place in a depth."""

    LOCK = 0
    RCU = 1
    PREEMPT = 2
    IRQ = 3


SECTIONS: Final[dict[str | int, tuple[Section, int]]] = {
    93: (Section.LOCK, 1),
    94: (Section.LOCK, -1),
    "bpf_rcu_read_lock": (Section.RCU, 1),
    "bpf_rcu_read_unlock": (Section.RCU, -1),
    "bpf_preempt_disable": (Section.PREEMPT, 1),
    "bpf_preempt_enable": (Section.PREEMPT, -1),
    "bpf_local_irq_save": (Section.IRQ, 1),
    "bpf_local_irq_restore": (Section.IRQ, -1),
}
"""Number of a helper or name of a kfunc -> what it enters (1) or leaves (-1)."""

SPIN_LOCK: Final = 93

# bpf_ringbuf_reserve, bpf_ringbuf_reserve_dynptr, bpf_sk_lookup_tcp, _udp, bpf_skc_lookup_tcp
ACQUIRED: Final = {
    131: frozenset({132, 133}),
    198: frozenset({199, 200}),
    84: frozenset({86}),
    85: frozenset({86}),
    99: frozenset({86}),
}
"""Number of a helper whose result must be given back (is_acquire_function; a ring buffer's dynptr too) ->
the helpers that do it."""

TAKES_OVER: Final = frozenset({194})
"""bpf_kptr_xchg: what it stores is given back by the map."""

NULLABLE: Final = frozenset(
    {
        1,
        84,
        85,
        95,
        96,
        98,
        99,
        107,
        131,
        136,
        137,
        138,
        139,
        140,
        145,
        153,
        156,
        162,
        178,
        195,
        196,
        203,
        210,
    }
)
"""Helpers whose result may be null (RET_PTR_TO_*_OR_NULL of their bpf_func_proto, 5.10 to 7.3)."""

SLEEPING_HELPERS: Final = frozenset({148, 161, 191, 193})
"""might_sleep of their bpf_func_proto: bpf_copy_from_user, bpf_ima_inode_hash, bpf_copy_from_user_task,
bpf_ima_file_hash."""

_MAY_LOCKED: Final = frozenset({94, 194})  # bpf_spin_unlock; bpf_kptr_xchg since 6.14


def call_while_locked(number: int | None, ask: Ask) -> Ruling:
    """Whether a helper, or with None a function of the program, may be called under bpf_spin_lock().

    Static functions since a44b1334aadd ("bpf: Allow calling static subprogs while holding a bpf_spin_lock",
    v6.9).
    """
    source = "do_check in kernel/bpf/verifier.c"
    if number is None:
        may = since(ask, (6, 9)) is not False
        why = "it calls a function of its own while it holds a bpf_spin_lock"
    else:
        may = number in _MAY_LOCKED
        why = "it calls a helper while it holds a bpf_spin_lock"
    return Ruling(Allowed.YES) if may else Ruling(Allowed.NO, why, source)


def takes_no_null(flags: frozenset[str], ask: Ask) -> bool:
    """Whether a kfunc with these flags takes null only for parameters whose names say so.

    Those with KF_TRUSTED_ARGS or KF_RCU in the trees 6.12 and 6.18, all in those of 7.1 and later.
    """
    if since(ask, (7, 1)):
        return True
    return bool(since(ask, (6, 12)) and flags & {"TRUSTED_ARGS", "RCU"})


def lookup_known(ask: Ask) -> bool:
    """Whether the verifier may know that a look-up in an array by a constant finds something.

    d2102f2f5d75 ("bpf: verifier: Support eliding map lookup nullness", v6.14).
    """
    return since(ask, (6, 14)) is not False
