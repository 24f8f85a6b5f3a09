# SPDX-License-Identifier: Apache-2.0
"""How a trial program of each type is loaded: attach types, flags, and which types need a target.

The rules are those of ``bpf_prog_load_check_attach()`` and of the types' verifier operations; they hold from
5.10 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.types import FuncProto, Kind, Ptr, Struct
from holdfast.terms import AttachType, ProgramType

__all__ = ["Context", "Target", "contexts", "struct_ops_contexts"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a program is loaded for: a type by name and kind, and for struct_ops its member.

    ``module`` is the one whose BTF has the type, "" for vmlinux.
    """

    name: str
    kind: Kind
    member: str = ""
    module: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """One way to load a trial program.

    ``attach_type`` is the number to pass; for STRUCT_OPS the member's place takes its stead. Where
    ``representative`` is False other programs of the type may be allowed more: no refusal is then a "no".
    """

    program_type: int
    attach_type: int = 0
    sleepable: bool = False
    target: Target | None = None
    representative: bool = True


_SOME_TRACEPOINT: Final = Target("btf_trace_sched_switch", Kind.TYPEDEF)
_SOME_ITERATOR: Final = Target("bpf_iter_task", Kind.FUNC)
# Those that add helpers of their own: get_func_proto of bpf_iter_reg, nowhere else in 6.1 to 7.1.
_SOCKET_ITERATORS: Final = (Target("bpf_iter_tcp", Kind.FUNC), Target("bpf_iter_unix", Kind.FUNC))
# Made for BPF's own tests (net/bpf/test_run.c): any program may attach, and nothing calls them.
_SOME_FUNCTION: Final = Target("bpf_fentry_test1", Kind.FUNC)
_SOME_RETURN: Final = Target("bpf_modify_return_test", Kind.FUNC)
# Functions that sleepable programs may attach to: by the fmod_ret set of net/bpf/test_run.c from 6.0 on
# (5b481acab4ce), and where functions for error injection are compiled in.
_MAY_SLEEP: Final = (_SOME_FUNCTION, _SOME_RETURN)
_SOME_HOOK: Final = Target("bpf_lsm_file_open", Kind.FUNC)
_SOME_SOCKET_HOOK: Final = Target("bpf_lsm_socket_bind", Kind.FUNC)
_SOME_OPS: Final = Target("tcp_congestion_ops", Kind.STRUCT, "ssthresh")

# Types that are loaded for a target. Trampolines (fentry and the like, LSM) may be forbidden where
# tracepoints and iterators are not.
_TARGETED: Final[dict[ProgramType, tuple[Context, ...]]] = {
    ProgramType.TRACING: (
        Context(ProgramType.TRACING, AttachType.TRACE_RAW_TP, target=_SOME_TRACEPOINT),
        Context(ProgramType.TRACING, AttachType.TRACE_ITER, target=_SOME_ITERATOR),
        Context(ProgramType.TRACING, AttachType.TRACE_ITER, True, _SOME_ITERATOR),
        *(Context(ProgramType.TRACING, AttachType.TRACE_ITER, target=one) for one in _SOCKET_ITERATORS),
        Context(ProgramType.TRACING, AttachType.TRACE_FENTRY, target=_SOME_FUNCTION),
        *(Context(ProgramType.TRACING, AttachType.TRACE_FENTRY, True, one) for one in _MAY_SLEEP),
        Context(ProgramType.TRACING, AttachType.TRACE_FEXIT, target=_SOME_FUNCTION),
        *(Context(ProgramType.TRACING, AttachType.TRACE_FEXIT, True, one) for one in _MAY_SLEEP),
        Context(ProgramType.TRACING, AttachType.MODIFY_RETURN, target=_SOME_RETURN),
        *(Context(ProgramType.TRACING, AttachType.MODIFY_RETURN, True, one) for one in _MAY_SLEEP),
        Context(ProgramType.TRACING, AttachType.TRACE_FSESSION, target=_SOME_FUNCTION),
        # Loaded for no function in particular; libbpf 1.8 gives no BTF id.
        Context(ProgramType.TRACING, AttachType.TRACE_FENTRY_MULTI),
        Context(ProgramType.TRACING, AttachType.TRACE_FEXIT_MULTI),
        Context(ProgramType.TRACING, AttachType.TRACE_FSESSION_MULTI),
    ),
    ProgramType.LSM: (
        Context(ProgramType.LSM, AttachType.LSM_MAC, target=_SOME_HOOK, representative=False),
        Context(ProgramType.LSM, AttachType.LSM_MAC, True, _SOME_HOOK, representative=False),
        Context(ProgramType.LSM, AttachType.LSM_CGROUP, target=_SOME_SOCKET_HOOK, representative=False),
    ),
    # The one struct_ops type that nearly every kernel has; the others are in its BTF: struct_ops_contexts().
    ProgramType.STRUCT_OPS: (Context(ProgramType.STRUCT_OPS, 0, target=_SOME_OPS, representative=False),),
    # A target program would be needed as well.
    ProgramType.EXT: (),
    ProgramType.UNSPEC: (),
}
_UPROBE: Final = frozenset({0, AttachType.TRACE_UPROBE_MULTI, AttachType.TRACE_UPROBE_SESSION})

# The first is what a type is probed with; where the kernel asks for one, which helpers and kfuncs are allowed
# depends on it. A type that is not listed needs none.
_ATTACH: Final[dict[ProgramType, tuple[AttachType, ...]]] = {
    ProgramType.KPROBE: (
        AttachType.CGROUP_INET_INGRESS,  # 0: a plain kprobe or uprobe
        AttachType.TRACE_KPROBE_MULTI,
        AttachType.TRACE_UPROBE_MULTI,
        AttachType.TRACE_KPROBE_SESSION,
        AttachType.TRACE_UPROBE_SESSION,
    ),
    ProgramType.XDP: (AttachType.XDP, AttachType.XDP_DEVMAP, AttachType.XDP_CPUMAP),
    ProgramType.CGROUP_SKB: (AttachType.CGROUP_INET_INGRESS, AttachType.CGROUP_INET_EGRESS),
    ProgramType.CGROUP_SOCK: (
        AttachType.CGROUP_INET_SOCK_CREATE,
        AttachType.CGROUP_INET_SOCK_RELEASE,
        AttachType.CGROUP_INET4_POST_BIND,
        AttachType.CGROUP_INET6_POST_BIND,
    ),
    ProgramType.SOCK_OPS: (AttachType.CGROUP_SOCK_OPS,),
    ProgramType.CGROUP_DEVICE: (AttachType.CGROUP_DEVICE,),
    ProgramType.CGROUP_SYSCTL: (AttachType.CGROUP_SYSCTL,),
    ProgramType.CGROUP_SOCK_ADDR: (
        AttachType.CGROUP_INET4_CONNECT,
        AttachType.CGROUP_INET6_CONNECT,
        AttachType.CGROUP_INET4_BIND,
        AttachType.CGROUP_INET6_BIND,
        AttachType.CGROUP_UDP4_SENDMSG,
        AttachType.CGROUP_UDP6_SENDMSG,
        AttachType.CGROUP_UDP4_RECVMSG,
        AttachType.CGROUP_UDP6_RECVMSG,
        AttachType.CGROUP_INET4_GETPEERNAME,
        AttachType.CGROUP_INET6_GETPEERNAME,
        AttachType.CGROUP_INET4_GETSOCKNAME,
        AttachType.CGROUP_INET6_GETSOCKNAME,
        AttachType.CGROUP_UNIX_CONNECT,
        AttachType.CGROUP_UNIX_SENDMSG,
        AttachType.CGROUP_UNIX_RECVMSG,
        AttachType.CGROUP_UNIX_GETPEERNAME,
        AttachType.CGROUP_UNIX_GETSOCKNAME,
    ),
    ProgramType.CGROUP_SOCKOPT: (AttachType.CGROUP_GETSOCKOPT, AttachType.CGROUP_SETSOCKOPT),
    ProgramType.SK_REUSEPORT: (
        AttachType.SK_REUSEPORT_SELECT,
        AttachType.SK_REUSEPORT_SELECT_OR_MIGRATE,
    ),
    ProgramType.SK_LOOKUP: (AttachType.SK_LOOKUP,),
    ProgramType.LIRC_MODE2: (AttachType.LIRC_MODE2,),
    ProgramType.FLOW_DISSECTOR: (AttachType.FLOW_DISSECTOR,),
    ProgramType.NETFILTER: (AttachType.NETFILTER,),
}
# The kernel looks at expected_attach_type of these from some release on (XDP 5.8, ...) and takes 0 always.
_ZERO_WILL_DO: Final = frozenset(
    {
        ProgramType.XDP,
        ProgramType.CGROUP_SKB,
        ProgramType.CGROUP_SOCK,
        ProgramType.SOCK_OPS,
        ProgramType.CGROUP_DEVICE,
        ProgramType.CGROUP_SYSCTL,
        ProgramType.SK_REUSEPORT,
        ProgramType.LIRC_MODE2,
        ProgramType.FLOW_DISSECTOR,
    }
)


def _all(program_type: ProgramType) -> tuple[Context, ...]:
    if program_type in _TARGETED:
        return _TARGETED[program_type]
    if program_type is ProgramType.SYSCALL:
        return (Context(program_type, sleepable=True),)  # refused without BPF_F_SLEEPABLE
    numbers: list[int] = [0] if program_type in _ZERO_WILL_DO or program_type not in _ATTACH else []
    numbers += [one for one in _ATTACH.get(program_type, ()) if one not in numbers]
    found = [Context(program_type, number) for number in numbers]
    if program_type is ProgramType.KPROBE:
        found += [Context(program_type, number, True) for number in numbers if number in _UPROBE]
    return tuple(found)


def contexts(
    program_type: ProgramType, attach_type: AttachType | None = None, sleepable: bool | None = None
) -> tuple[Context, ...]:
    """Ways to load a program of this type: with that attach type and sleepable or not, or (None) all.

    The usual one comes first. Empty where no trial can be made (EXT).
    """
    found = _all(program_type)
    if attach_type is not None and program_type is not ProgramType.STRUCT_OPS:
        exact = tuple(one for one in found if one.attach_type == attach_type)
        # Types without attach types of their own take any (bpf_prog_load_check_attach).
        found = exact or (
            tuple(one for one in found if one.attach_type == 0) if program_type not in _TARGETED else ()
        )
    if sleepable is not None and program_type is not ProgramType.SYSCALL:
        found = tuple(one for one in found if one.sleepable is sleepable)
    return found


_VALUE_PREFIX: Final = "bpf_struct_ops_"


def struct_ops_contexts(vmlinux: Btf | None, modules: Mapping[str, Btf]) -> tuple[Context, ...]:
    """A context for each function of each struct_ops type of these BTFs, the first of each type first.

    ``struct bpf_struct_ops_<name>`` is the value of the maps that hold a ``struct <name>``. The functions of
    one type differ in the helpers and kfuncs that they may call (tcp_congestion_ops, sched_ext_ops,
    Qdisc_ops), and a module may bring a type (6.9).
    """
    firsts: list[Context] = []
    others: list[Context] = []
    for module, btf in [("", vmlinux), *modules.items()]:
        for target in _members(module, btf) if btf is not None else ():
            known = any(one.target and one.target.name == target.name for one in firsts)
            (others if known else firsts).append(Context(ProgramType.STRUCT_OPS, target=target))
    return (*firsts, *others)


def _members(module: str, btf: Btf) -> Iterator[Target]:
    for value in btf.own_of_kind(Kind.STRUCT):
        full = btf.name(value)
        name = full.removeprefix(_VALUE_PREFIX)
        found = btf.find(name, Kind.STRUCT) if name != full else None
        ops = btf.type(found) if found is not None else None
        for member in ops.members if isinstance(ops, Struct) else ():
            pointer = btf.type(member.type_id)
            if isinstance(pointer, Ptr) and isinstance(btf.type(pointer.type_id), FuncProto):
                yield Target(name, Kind.STRUCT, member.name, module)
