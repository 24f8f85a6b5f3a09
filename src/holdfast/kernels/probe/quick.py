# SPDX-License-Identifier: Apache-2.0
"""What a kernel tells within a second where nothing is fast: a booted guest asks it each kernel once.

Nothing of BTF is read and no refusal of a program is judged, so what is imported is little.
"""

from __future__ import annotations

import contextlib
import errno
import resource
from typing import Any, Final

from holdfast import sys
from holdfast.kernels.probe.maps import map_type
from holdfast.kernels.probe.programs import INSN_TRIALS, RETURN_0
from holdfast.terms import MapType, ProgramType

__all__ = ["ask"]

# An empty program of these loads wherever there is the type: no attach type, no target in BTF.
_PLAIN: Final = (
    ProgramType.SOCKET_FILTER,
    ProgramType.KPROBE,
    ProgramType.SCHED_CLS,
    ProgramType.SCHED_ACT,
    ProgramType.TRACEPOINT,
    ProgramType.XDP,
    ProgramType.PERF_EVENT,
    ProgramType.CGROUP_SKB,
    ProgramType.LWT_IN,
    ProgramType.LWT_OUT,
    ProgramType.LWT_XMIT,
    ProgramType.SK_SKB,
    ProgramType.CGROUP_DEVICE,
    ProgramType.SK_MSG,
    ProgramType.RAW_TRACEPOINT,
    ProgramType.LWT_SEG6LOCAL,
    ProgramType.LIRC_MODE2,
    ProgramType.FLOW_DISSECTOR,
    ProgramType.RAW_TRACEPOINT_WRITABLE,
)


def ask() -> dict[str, Any]:
    """Return map types, instructions, and those program types that load, as
    :func:`holdfast.kernels.probe_plain.to_plain` spells them. A program type that does not load is left out:
    why it does not is for the whole survey to find out.

    Raises the limit of locked memory of this process, which kernels before 5.11 count maps by.
    """
    with contextlib.suppress(OSError, ValueError):  # it takes CAP_SYS_RESOURCE
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    return {
        "map_types": {one.name: map_type(one) for one in MapType if one is not MapType.UNSPEC},
        "program_types": {one.name: True for one in _PLAIN if _loads(one, RETURN_0) == (True, False)},
        "insn_features": {str(name): _takes(insns) for name, insns in sorted(INSN_TRIALS.items())},
    }


def _takes(insns: bytes) -> bool | None:
    """As :meth:`holdfast.kernels.probe.calls.Prober.insn_feature`; socket filters are in every kernel."""
    loaded, invalid = _loads(ProgramType.SOCKET_FILTER, insns)
    return True if loaded else False if invalid else None


def _loads(kind: ProgramType, insns: bytes) -> tuple[bool, bool]:
    """Whether it loads, and whether the verifier (it wrote a log) calls it invalid."""
    result = sys.prog_load(kind, insns, log_level=1, log_size=1 << 12)
    if result.fd is None:
        return False, bool(result.log) and result.errno == errno.EINVAL
    result.fd.close()
    return True, False
