# SPDX-License-Identifier: Apache-2.0
"""How much stack a chain of calls may use (``check_max_stack_depth()`` in kernel/bpf/verifier.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since
from holdfast.terms import ProgramType

__all__ = ["MAX_CALLS", "MAX_STACK", "chain_accepted"]

MAX_STACK: Final = 512
"""MAX_BPF_STACK, in bytes."""
MAX_CALLS: Final = 8
"""MAX_CALL_FRAMES of the trees 5.10 to 7.1; twice that in those of 7.2 and 7.3."""
_SOURCE: Final = "check_max_stack_depth in kernel/bpf/verifier.c"
# bpf_enable_priv_stack(): these may get a stack of their own for each function
_PRIVATE: Final = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.TRACING,
        ProgramType.LSM,
        ProgramType.STRUCT_OPS,
    }
)


def chain_accepted(depths: Sequence[int], program_type: ProgramType, ask: Ask) -> Ruling:
    """Whether functions that call one another in this order may use that much stack (bytes each, at least).

    Each is rounded up: to 32 bytes in the trees 5.10 and 6.1, to 16 in that of 6.12 where a JIT is used.
    Programs with stacks of their own (6.13, and stable updates of 6.12) are not judged.
    """
    if len(depths) > MAX_CALLS:
        most = MAX_CALLS * 2 if since(ask, (7, 2)) is not False else MAX_CALLS
        if len(depths) > most:
            return Ruling(Allowed.NO, f"{len(depths)} functions call one another, and {most} may", _SOURCE)
    if program_type in _PRIVATE and ask.btf(Sign.member("bpf_subprog_info", "priv_stack_mode")) is not False:
        return Ruling(Allowed.YES, "", _SOURCE)
    for unit in (16, 32):
        total = sum((max(depth, 1) + unit - 1) // unit * unit for depth in depths)
        if total <= MAX_STACK:
            continue
        why = f"{len(depths)} functions that call one another use {total} bytes of stack, over {MAX_STACK}"
        if unit == 16 or since(ask, (6, 2)) is False:
            return Ruling(Allowed.NO, why, _SOURCE)
        if not since(ask, (6, 12)):
            return Ruling(Allowed.UNKNOWN, why, _SOURCE)
    return Ruling(Allowed.YES, "", _SOURCE)
