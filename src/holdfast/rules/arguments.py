# SPDX-License-Identifier: Apache-2.0
"""Reading arguments from the context of a program that attaches by BTF, and the shape of such reads.

btf_ctx_access in kernel/bpf/btf.c and check_ctx_access in kernel/bpf/verifier.c, trees 5.10 to 7.1. tp_btf,
fentry, fexit, fmod_ret, LSM, iterator and struct_ops programs get the target's arguments, 8 bytes or more
each, and may read no further. Tracepoints lose and gain arguments between releases, and in stable updates.
"""

from __future__ import annotations

from typing import Final

from holdfast.btf.reader import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Composite, Enum, FuncProto, Int, Ptr
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.eras import since
from holdfast.terms import AttachType, ProgramType

__all__ = ["load_shape", "readable"]

_SOURCE: Final = "btf_ctx_access in kernel/bpf/btf.c"
_RESULT_FOLLOWS: Final = frozenset(
    {
        AttachType.LSM_MAC,
        AttachType.LSM_CGROUP,
        AttachType.TRACE_FEXIT,
        AttachType.TRACE_FSESSION,
        AttachType.MODIFY_RETURN,
    }
)
# Their bpf_verifier_ops have no convert_ctx_access (5.10 to 7.1).
_UNCONVERTED: Final = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.RAW_TRACEPOINT_WRITABLE,
        ProgramType.TRACING,
        ProgramType.LSM,
        ProgramType.STRUCT_OPS,
        ProgramType.SYSCALL,
    }
)


def readable(
    btf: Btf, proto: FuncProto, offset: int, attach_type: AttachType | None, *, tracepoint: bool
) -> Ruling:
    """Whether the context of a target of that prototype can be read at ``offset`` (bytes).

    For a ``tracepoint`` the prototype is that of ``btf_trace_<name>``, whose first parameter stays behind.
    """
    if offset % 8:
        return Ruling(Allowed.NO, f"it reads the context at offset {offset}, no multiple of 8", _SOURCE)
    params = proto.params[1:] if tracepoint else proto.params
    at = 0
    for param in params:
        at += _size(btf, param.type_id)
        if offset < at:
            return _kind(btf, param.type_id, f"argument {param.name}")
    count = len(params)
    if attach_type not in _RESULT_FOLLOWS or offset >= at + 8:
        what = f"{count} argument{'' if count == 1 else 's'}"
        why = f"it reads argument {count + (offset - at) // 8 + 1}, and the target has {what}"
        return Ruling(Allowed.NO, why, _SOURCE)
    if proto.return_type_id == 0:
        return Ruling(Allowed.NO, "it reads the result of a function that returns none", _SOURCE)
    return _kind(btf, proto.return_type_id, "the result")


def _size(btf: Btf, type_id: int) -> int:
    """Bytes in the context: registers of 8."""
    if type_id == 0:
        return 8
    _, kind = skip_mods_and_typedefs(btf, type_id)
    size = kind.size if isinstance(kind, Int | Enum | Composite) else 8
    return (size + 7) // 8 * 8


def _kind(btf: Btf, type_id: int, what: str) -> Ruling:
    if type_id:
        _, kind = skip_mods_and_typedefs(btf, type_id)
        if isinstance(kind, Int | Enum | Composite | Ptr):
            return Ruling(Allowed.YES, "", _SOURCE)
    return Ruling(Allowed.NO, f"it reads {what}, which is neither number nor pointer", _SOURCE)


def load_shape(program_type: ProgramType, moved: int, ask: Ask) -> Ruling:
    """Whether a load may go through a context pointer to which ``moved`` bytes were added.

    Trees 5.10 to 6.18 refuse that (check_ptr_off_reg); that of 7.1 takes it where no convert_ctx_access
    rewrites loads.
    """
    source = "check_ctx_access in kernel/bpf/verifier.c"
    if moved == 0 or (program_type in _UNCONVERTED and since(ask, (7, 1))):
        return Ruling(Allowed.YES, "", source)
    why = f"it reads through a context pointer to which {moved} bytes were added"
    unsure = program_type in _UNCONVERTED and since(ask, (6, 19)) is not False
    return Ruling(Allowed.UNKNOWN if unsure else Allowed.NO, why, source)
