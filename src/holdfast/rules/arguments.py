# SPDX-License-Identifier: Apache-2.0
"""What a program may read from its context.

btf_ctx_access in kernel/bpf/btf.c, check_ctx_access in kernel/bpf/verifier.c and the is_valid_access
functions of the program types, trees 5.10 to 7.1. tp_btf, fentry, fexit, fmod_ret, LSM, iterator and
struct_ops programs get the target's arguments, 8 bytes or more each, and may read no further; tracepoints
lose and gain arguments between releases, and in stable updates. Other types get a struct of the UAPI, which
grows at its end.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from holdfast.btf.reader import Btf
from holdfast.btf.skip import UnsizedError, pointer_size, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Composite, Const, Enum, FuncProto, Int, Member, Ptr, Struct, Void
from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since
from holdfast.terms import AttachType, ProgramType

__all__ = [
    "AFTERWARDS",
    "CONTEXT_STRUCTS",
    "Pointee",
    "argument_at",
    "inside",
    "load_shape",
    "pointee",
    "pointer_readable",
    "readable",
    "writable",
]

CONTEXT_STRUCTS: Final = {
    ProgramType.SOCKET_FILTER: "__sk_buff",
    ProgramType.SCHED_CLS: "__sk_buff",
    ProgramType.SCHED_ACT: "__sk_buff",
    ProgramType.CGROUP_SKB: "__sk_buff",
    ProgramType.LWT_IN: "__sk_buff",
    ProgramType.LWT_OUT: "__sk_buff",
    ProgramType.LWT_XMIT: "__sk_buff",
    ProgramType.LWT_SEG6LOCAL: "__sk_buff",
    ProgramType.SK_SKB: "__sk_buff",
    ProgramType.FLOW_DISSECTOR: "__sk_buff",
    ProgramType.XDP: "xdp_md",
    ProgramType.CGROUP_SOCK: "bpf_sock",
    ProgramType.CGROUP_SOCK_ADDR: "bpf_sock_addr",
    ProgramType.CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    ProgramType.CGROUP_SYSCTL: "bpf_sysctl",
    ProgramType.CGROUP_SOCKOPT: "bpf_sockopt",
    ProgramType.SOCK_OPS: "bpf_sock_ops",
    ProgramType.SK_MSG: "sk_msg_md",
    ProgramType.SK_REUSEPORT: "sk_reuseport_md",
    ProgramType.SK_LOOKUP: "bpf_sk_lookup",
    ProgramType.NETFILTER: "bpf_nf_ctx",
    ProgramType.PERF_EVENT: "bpf_perf_event_data",
    ProgramType.KPROBE: "pt_regs",
}
"""Each type's is_valid_access ends at the size of this struct."""

_SOURCE: Final = "btf_ctx_access in kernel/bpf/btf.c"
AFTERWARDS: Final = "convert_ctx_accesses in kernel/bpf/verifier.c"
"""Source of what is found when the walk is over and nothing in it was refused."""
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


class Pointee(StrEnum):
    """What an argument points to, where that is not void and no struct."""

    BYTE = "a byte"
    NUMBER = "a number"
    VOID = "a constant of no type"
    OTHER = "neither a struct nor a number"


def pointee(btf: Btf, type_id: int) -> Pointee | None:
    """For a type of an argument: None where every kernel lets a program read it."""
    _, kind = skip_mods_and_typedefs(btf, type_id)
    if not isinstance(kind, Ptr) or kind.type_id == 0:
        return None
    below = btf.type(kind.type_id)
    if isinstance(below, Const):
        below = btf.type(below.type_id) if below.type_id else below
    if isinstance(below, Int) and below.size == 1:
        return Pointee.BYTE
    _, target = skip_mods_and_typedefs(btf, kind.type_id)
    if isinstance(target, Composite):
        return None
    if isinstance(target, Void):
        return Pointee.VOID
    return Pointee.NUMBER if isinstance(target, Int) else Pointee.OTHER


def pointer_readable(what: Pointee, ask: Ask) -> Ruling:
    """Whether an argument that points to that can be read, be it only to keep its value.

    Pointers to a byte always can; those to numbers since bb6728d75611 (5.17), which came in one series with
    bpf_get_func_arg(); ``const void *`` since 1271a40eeafa (6.16); all others in the tree of 7.1 and not in
    that of 6.18. Not for struct_ops, whose types have an is_valid_access of their own.
    """
    if what is Pointee.BYTE:
        return Ruling(Allowed.YES, "", _SOURCE)
    why = f"it reads an argument that points to {what}"
    if what is Pointee.NUMBER:
        there = ask.btf(Sign.value("bpf_func_id", "BPF_FUNC_get_func_arg"))
    elif what is Pointee.VOID:
        there = since(ask, (6, 16))
    elif since(ask, (7, 1)):
        there = True
    else:
        there = None if since(ask, (6, 19)) is not False else False
    if there:
        return Ruling(Allowed.YES, "", _SOURCE)
    return Ruling(Allowed.UNKNOWN if there is None else Allowed.NO, why, _SOURCE)


def argument_at(btf: Btf, proto: FuncProto, offset: int, *, tracepoint: bool) -> int | None:
    """Id of the type of the argument that begins at ``offset`` (bytes) of the context, or None: a result of
    an fexit program is none.
    """
    at = 0
    for param in proto.params[1:] if tracepoint else proto.params:
        if at == offset:
            return param.type_id or None
        at += _size(btf, param.type_id)
    return None


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


def inside(
    program_type: ProgramType, btf: Btf, context: Struct, offset: int, attach_type: AttachType | None
) -> Ruling:
    """Whether a load at ``offset`` is inside the context, a struct of this kernel's ``btf``, and no padding.

    Newer members may stand where an older kernel has padding: ``__sk_buff.tstamp_type`` (5.18) does; a load
    from there is refused by is_valid_access or, in 5.10, by convert_ctx_accesses. ``egress_ifindex`` at the
    end of ``xdp_md`` is for programs in a devmap (xdp_is_valid_access, 5.8).
    """
    source = f"is_valid_access of {program_type.name}"
    name = CONTEXT_STRUCTS[program_type]
    if not 0 <= offset < context.size:
        why = f"it reads offset {offset} of its context, and struct {name} has {context.size} bytes here"
        return Ruling(Allowed.NO, why, source)
    if not any(_covers(btf, member, offset) for member in context.members):
        # Since 9bb984f28d5b (5.18) the padding of __sk_buff is refused at once.
        if name == "__sk_buff" and all(member.name != "tstamp_type" for member in context.members):
            source = AFTERWARDS
        return Ruling(Allowed.NO, f"struct {name} has no member at offset {offset} here", source)
    if program_type is ProgramType.XDP and offset >= 20 and attach_type is not AttachType.XDP_DEVMAP:
        return Ruling(Allowed.NO, "it reads egress_ifindex, and is no program for a devmap", source)
    return Ruling(Allowed.YES, "", source)


def _covers(btf: Btf, member: Member, offset: int) -> bool:
    start = member.bit_offset // 8
    try:
        size = (member.bitfield_size + 7) // 8 or resolve_size(btf, member.type_id, pointer_size(btf))
    except UnsizedError:
        return start <= offset
    return start <= offset < start + size


_READ_ONLY: Final = frozenset(
    {
        ProgramType.TRACING,
        ProgramType.LSM,
        ProgramType.STRUCT_OPS,
        ProgramType.TRACEPOINT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.SK_MSG,
        ProgramType.SK_LOOKUP,
        ProgramType.NETFILTER,
        ProgramType.CGROUP_DEVICE,
        ProgramType.FLOW_DISSECTOR,
    }
)


def writable(program_type: ProgramType, ask: Ask) -> Ruling:
    """Whether the program may write to its context at all; which members it may is not judged.

    KPROBE programs may in the 6.18 tree (bpf_prog_aux.kprobe_write_ctx) and not in that of 6.12; those of
    kprobe.multi and the like are refused when they attach.
    """
    source = f"is_valid_access of {program_type.name}"
    why = f"{program_type.name} programs may not write to their context"
    if program_type in _READ_ONLY:
        return Ruling(Allowed.NO, why, source)
    if program_type is ProgramType.KPROBE:
        there = ask.btf(Sign.member("bpf_prog_aux", "kprobe_write_ctx"))
        if not there:
            return Ruling(Allowed.UNKNOWN if there is None else Allowed.NO, why, source)
    return Ruling(Allowed.YES, "", source)


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
