# SPDX-License-Identifier: Apache-2.0
"""What each program type asks of kernel, configuration and loader before any instruction is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling, Sign, combine
from holdfast.rules.eras import since, trees_in
from holdfast.rules.helper_table import TREES
from holdfast.terms import AttachType, ProgramType

__all__ = [
    "TRACING_TYPES",
    "ProgramTypeRule",
    "attach_type_accepted",
    "capabilities",
    "compiled_in",
    "frags_accepted",
    "kfunc_hook",
    "licence_accepted",
    "return_range",
    "rule",
    "sleepable_accepted",
]

# bpf_prog_load in kernel/bpf/syscall.c: is_net_admin_prog_type, is_perfmon_prog_type
_NET: Final = ("CAP_BPF", "CAP_NET_ADMIN")
_TRACE: Final = ("CAP_BPF", "CAP_PERFMON")
_BPF: Final = ("CAP_BPF",)
# is_tracing_prog_type in kernel/bpf/verifier.c, the same in all five trees
TRACING_TYPES: Final = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.RAW_TRACEPOINT_WRITABLE,
    }
)


@dataclass(frozen=True, slots=True)
class ProgramTypeRule:
    """What BPF_PROG_LOAD wants for a type, whatever the release.

    ``capabilities`` are all needed; ``unprivileged`` types need none of them while
    kernel.unprivileged_bpf_disabled is 0. ``options`` compile the type in. ``attach_types`` are the only
    values of expected_attach_type that load (None: not looked at when loading; an empty tuple: must be 0),
    ``attach_default`` is what the kernel puts in place of 0. ``target`` tells that attach_btf_id is needed,
    ``gpl`` that the licence must be GPL-compatible in itself.
    """

    type: ProgramType
    capabilities: tuple[str, ...]
    options: tuple[str, ...]
    unprivileged: bool = False
    attach_types: tuple[AttachType, ...] | None = None
    attach_default: AttachType | None = None
    target: bool = False
    gpl: bool = False

    @property
    def sign(self) -> Sign:
        """A member of struct bpf_ctx_convert, which lists exactly the types that are compiled in (btf.c)."""
        return Sign.member("bpf_ctx_convert", f"BPF_PROG_TYPE_{self.type.name}_prog")


def _a(*names: str) -> tuple[AttachType, ...]:
    return tuple(AttachType[name] for name in names)


_SOCK_ADDR: Final = tuple(
    AttachType[f"CGROUP_{name}"]
    for name in (
        *(
            "INET4_BIND",
            "INET6_BIND",
            "INET4_CONNECT",
            "INET6_CONNECT",
            "INET4_GETPEERNAME",
            "INET6_GETPEERNAME",
        ),
        *(
            "INET4_GETSOCKNAME",
            "INET6_GETSOCKNAME",
            "UDP4_SENDMSG",
            "UDP6_SENDMSG",
            "UDP4_RECVMSG",
            "UDP6_RECVMSG",
        ),
        *("UNIX_CONNECT", "UNIX_SENDMSG", "UNIX_RECVMSG", "UNIX_GETPEERNAME", "UNIX_GETSOCKNAME"),
    )
)
_CG: Final = ("NET", "CGROUP_BPF")
_P: Final = ProgramType

# Options: include/linux/bpf_types.h. Attach types: bpf_prog_load_check_attach and
# bpf_prog_load_fixup_attach_type. Targets: bpf_check_attach_target. Licences: bpf_lsm_verify_prog,
# check_struct_ops_btf_id.
_RULES: Final = {
    row.type: row
    for row in (
        ProgramTypeRule(_P.SOCKET_FILTER, _BPF, ("NET",), unprivileged=True),
        ProgramTypeRule(_P.KPROBE, _TRACE, ("BPF_EVENTS",)),
        ProgramTypeRule(_P.SCHED_CLS, _NET, ("NET",)),
        ProgramTypeRule(_P.SCHED_ACT, _NET, ("NET",)),
        ProgramTypeRule(_P.TRACEPOINT, _TRACE, ("BPF_EVENTS",)),
        ProgramTypeRule(_P.XDP, _NET, ("NET",)),
        ProgramTypeRule(_P.PERF_EVENT, _TRACE, ("BPF_EVENTS",)),
        ProgramTypeRule(
            _P.CGROUP_SKB,
            _BPF,
            _CG,
            unprivileged=True,
            attach_types=_a("CGROUP_INET_INGRESS", "CGROUP_INET_EGRESS"),
        ),
        ProgramTypeRule(
            _P.CGROUP_SOCK,
            _NET,
            _CG,
            attach_types=_a(
                "CGROUP_INET_SOCK_CREATE",
                "CGROUP_INET_SOCK_RELEASE",
                "CGROUP_INET4_POST_BIND",
                "CGROUP_INET6_POST_BIND",
            ),
            attach_default=AttachType.CGROUP_INET_SOCK_CREATE,
        ),
        ProgramTypeRule(_P.LWT_IN, _NET, ("NET",)),
        ProgramTypeRule(_P.LWT_OUT, _NET, ("NET",)),
        ProgramTypeRule(_P.LWT_XMIT, _NET, ("NET",)),
        ProgramTypeRule(_P.SOCK_OPS, _NET, ("NET",)),
        ProgramTypeRule(_P.SK_SKB, _NET, ("NET",)),
        ProgramTypeRule(_P.CGROUP_DEVICE, _NET, ("CGROUP_BPF",)),
        ProgramTypeRule(_P.SK_MSG, _NET, ("NET",)),
        ProgramTypeRule(_P.RAW_TRACEPOINT, _TRACE, ("BPF_EVENTS",)),
        ProgramTypeRule(_P.CGROUP_SOCK_ADDR, _NET, _CG, attach_types=_SOCK_ADDR),
        ProgramTypeRule(_P.LWT_SEG6LOCAL, _NET, ("NET",)),
        ProgramTypeRule(_P.LIRC_MODE2, _BPF, ("BPF_LIRC_MODE2",)),
        ProgramTypeRule(
            _P.SK_REUSEPORT,
            _BPF,
            ("INET",),
            attach_types=_a("SK_REUSEPORT_SELECT", "SK_REUSEPORT_SELECT_OR_MIGRATE"),
            attach_default=AttachType.SK_REUSEPORT_SELECT,
        ),
        ProgramTypeRule(_P.FLOW_DISSECTOR, _NET, ("NET",)),
        ProgramTypeRule(_P.CGROUP_SYSCTL, _NET, ("CGROUP_BPF",)),
        ProgramTypeRule(_P.RAW_TRACEPOINT_WRITABLE, _TRACE, ("BPF_EVENTS",)),
        ProgramTypeRule(
            _P.CGROUP_SOCKOPT,
            _NET,
            ("CGROUP_BPF",),
            attach_types=_a("CGROUP_GETSOCKOPT", "CGROUP_SETSOCKOPT"),
        ),
        ProgramTypeRule(
            _P.TRACING,
            _TRACE,
            ("BPF_EVENTS",),
            attach_types=_a(
                *(
                    "TRACE_RAW_TP",
                    "TRACE_FENTRY",
                    "TRACE_FEXIT",
                    "MODIFY_RETURN",
                    "TRACE_ITER",
                    "TRACE_FSESSION",
                ),
                # Newer than the trees; an enumeration that has them is all that is known.
                *("TRACE_FENTRY_MULTI", "TRACE_FEXIT_MULTI", "TRACE_FSESSION_MULTI"),
            ),
            target=True,
        ),
        ProgramTypeRule(_P.STRUCT_OPS, _TRACE, ("BPF_JIT",), target=True, gpl=True),
        ProgramTypeRule(_P.EXT, (*_NET, "CAP_PERFMON"), ("BPF_JIT",), attach_types=(), target=True),
        ProgramTypeRule(
            _P.LSM,
            _TRACE,
            ("BPF_JIT", "BPF_LSM"),
            attach_types=_a("LSM_MAC", "LSM_CGROUP"),
            target=True,
            gpl=True,
        ),
        ProgramTypeRule(_P.SK_LOOKUP, _NET, ("INET",), attach_types=_a("SK_LOOKUP")),
        ProgramTypeRule(_P.SYSCALL, _BPF, (), attach_types=()),
        ProgramTypeRule(_P.NETFILTER, _NET, ("NETFILTER_BPF_LINK",), attach_types=_a("NETFILTER")),
    )
}
_LOAD: Final = "bpf_prog_load in kernel/bpf/syscall.c, trees 5.10 to 7.1"


def rule(program_type: ProgramType) -> ProgramTypeRule:
    """The rule of a type. Raises KeyError for UNSPEC, which cannot be loaded."""
    return _RULES[program_type]


def capabilities(program_type: ProgramType, ask: Ask) -> tuple[str, ...]:
    """Capabilities that loading needs on this kernel (``CAP_SYS_ADMIN`` stands in for each of them)."""
    found = rule(program_type).capabilities
    if program_type is ProgramType.LIRC_MODE2 and min(trees_in(ask, TREES)[0]) <= 1:
        # Left is_net_admin_prog_type between the 6.1 and 6.12 trees; where in doubt, name what may be needed.
        return (*found, "CAP_NET_ADMIN")
    return found


def compiled_in(program_type: ProgramType, ask: Ask) -> Ruling:
    """Whether programs of the type can be loaded at all: struct bpf_ctx_convert first, then the
    configuration.
    """
    row = rule(program_type)
    # Whether BTF holds the struct at all tells an absent member from an absent witness.
    if ask.btf(Sign.struct("bpf_ctx_convert")):
        found = ask.btf(row.sign)
        if found is not None:
            why = "" if found else _lacks(row)
            return Ruling(
                Allowed.YES if found else Allowed.NO, why, "struct bpf_ctx_convert (kernel/bpf/btf.c)"
            )
    known = ask.btf(Sign.value("bpf_prog_type", f"BPF_PROG_TYPE_{program_type.name}"))
    if known is False:
        return Ruling(Allowed.NO, f"its enum bpf_prog_type has no {program_type.name}", "enum bpf_prog_type")
    states = [ask.config(option) for option in row.options]
    if False in states:
        return Ruling(Allowed.NO, _lacks(row), "include/linux/bpf_types.h")
    if known and all(states):
        return Ruling(Allowed.YES, "", "include/linux/bpf_types.h")
    return Ruling(Allowed.UNKNOWN, f"nothing tells whether {program_type.name} is compiled in")


def _lacks(row: ProgramTypeRule) -> str:
    options = " and ".join(f"CONFIG_{option}" for option in row.options)
    return f"the kernel is built without program type {row.type.name}" + (f" ({options})" if options else "")


def attach_type_accepted(program_type: ProgramType, attach_type: AttachType | None, ask: Ask) -> Ruling:
    """Whether BPF_PROG_LOAD takes that expected_attach_type (None is 0) for that program type."""
    row = rule(program_type)
    source = "bpf_prog_load_check_attach in kernel/bpf/syscall.c"
    number = attach_type or AttachType(0)
    # Program types that are not in its switch pass with any number: 6.1 loads a SCHED_CLS program for
    # TCX_INGRESS and a KPROBE program for TRACE_UPROBE_MULTI, and cannot attach them. TRACING is in a switch
    # of bpf_check_attach_target.
    if row.attach_types is None and program_type is not ProgramType.TRACING:
        return Ruling(Allowed.YES, "", source)
    reuseport = Sign.value("bpf_attach_type", "BPF_SK_REUSEPORT_SELECT")
    if program_type is ProgramType.SK_REUSEPORT and ask.btf(reuseport) is False:
        return Ruling(Allowed.YES, "", source)  # nothing was looked at before there was an attach type (5.10)
    if attach_type is not None and ask.btf(Sign.value("bpf_attach_type", f"BPF_{attach_type.name}")) is False:
        return Ruling(Allowed.NO, f"its enum bpf_attach_type has no {attach_type.name}", source)
    if row.attach_types is None or (not number and row.attach_default is not None):
        return Ruling(Allowed.YES, "", source)
    if not row.attach_types:
        allowed = not number
        return Ruling(
            Allowed.YES if allowed else Allowed.NO,
            "" if allowed else f"{program_type.name} programs take no expected_attach_type",
            source,
        )
    if number in row.attach_types:
        return Ruling(Allowed.YES, "", source)
    names = ", ".join(kind.name for kind in row.attach_types)
    return Ruling(
        Allowed.NO, f"{program_type.name} programs need expected_attach_type to be one of {names}", source
    )


def frags_accepted(ask: Ask) -> Ruling:
    """Whether BPF_PROG_LOAD knows BPF_F_XDP_HAS_FRAGS, which libbpf sets for ``xdp.frags`` without asking.

    Commit c2f2cdbeffda ("bpf: introduce BPF_F_XDP_HAS_FRAGS flag in prog_flags loading the ebpf program",
    v5.18).
    """
    source = "bpf_prog_load in kernel/bpf/syscall.c, 5.18 (c2f2cdbeffda)"
    if ask.btf(Sign.member("bpf_prog_aux", "xdp_has_frags")) is False:
        return Ruling(Allowed.NO, "this kernel takes no XDP programs for frames in several buffers", source)
    return Ruling(Allowed.YES, "", source)


def licence_accepted(program_type: ProgramType, gpl_compatible: bool) -> Ruling:
    """Whether the licence suffices for the type itself (helpers and kfuncs ask on their own)."""
    row = rule(program_type)
    allowed = gpl_compatible or not row.gpl
    why = "" if allowed else f"{program_type.name} programs must have a GPL-compatible licence"
    return Ruling(Allowed.YES if allowed else Allowed.NO, why, "bpf_lsm_verify_prog, check_struct_ops_btf_id")


# -- sleepable
# ------------------------------------------------------------------------------------------------

_F: Final = frozenset({"TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"})
_ALL: Final = frozenset({"*"})
# per tree: program type -> attach types with which it may be sleepable; check_attach_btf_id and
# can_be_sleepable in kernel/bpf/verifier.c. 5.10 lets a sleepable iterator through here and refuses it later.
_SLEEPABLE_7_1: Final[dict[str, frozenset[str]]] = {
    "TRACING": _F | {"TRACE_ITER", "TRACE_FSESSION", "TRACE_RAW_TP"},
    "LSM": frozenset({"LSM_MAC"}),
    "KPROBE": _ALL,
    "STRUCT_OPS": _ALL,
    "RAW_TRACEPOINT": _ALL,
    "TRACEPOINT": _ALL,
    "SYSCALL": _ALL,
}
_SLEEPABLE_7_2: Final = {
    **_SLEEPABLE_7_1,
    "TRACING": _SLEEPABLE_7_1["TRACING"]
    | {"TRACE_FENTRY_MULTI", "TRACE_FEXIT_MULTI", "TRACE_FSESSION_MULTI"},
}
_SLEEPABLE: Final[tuple[dict[str, frozenset[str]], ...]] = (
    {"TRACING": _F, "LSM": _ALL},
    {"TRACING": _F | {"TRACE_ITER"}, "LSM": _ALL, "KPROBE": _ALL, "SYSCALL": _ALL},
    {"TRACING": _F | {"TRACE_ITER"}, "LSM": _ALL, "KPROBE": _ALL, "STRUCT_OPS": _ALL, "SYSCALL": _ALL},
    {"TRACING": _F | {"TRACE_ITER"}, "LSM": _ALL, "KPROBE": _ALL, "STRUCT_OPS": _ALL, "SYSCALL": _ALL},
    _SLEEPABLE_7_1,
    _SLEEPABLE_7_2,  # read in 7.2.12; the last one stands for what is newer
)


def sleepable_accepted(
    program_type: ProgramType, attach_type: AttachType | None, sleepable: bool, ask: Ask
) -> Ruling:
    """Whether a program of that kind may be loaded with (or without) BPF_F_SLEEPABLE.

    Whether the target is one at which it may sleep is another question (``lsm_hooks``, ``fentry``,
    ``iterators``); KPROBE programs load sleepable but attach so to uprobes only.
    """
    source = "check_attach_btf_id and can_be_sleepable in kernel/bpf/verifier.c"
    if program_type is ProgramType.SYSCALL and not sleepable:
        return Ruling(Allowed.NO, "SYSCALL programs must be sleepable (BPF_F_SLEEPABLE)", source)
    if not sleepable:
        return Ruling(Allowed.YES, "", source)
    trees, by_release = trees_in(ask, TREES)
    rulings = []
    for tree in trees:
        kinds = _SLEEPABLE[min(tree, len(_SLEEPABLE) - 1)].get(program_type.name, frozenset())
        allowed = "*" in kinds or (attach_type is not None and attach_type.name in kinds)
        what = program_type.name + (
            f" programs with attach type {attach_type.name}" if attach_type else " programs"
        )
        why = "" if allowed else f"{what} cannot be sleepable on this kernel"
        rulings.append(Ruling(Allowed.YES if allowed else Allowed.NO, why, source, by_release=by_release))
    return combine(rulings)


# -- return values
# --------------------------------------------------------------------------------------------

_ONE: Final = frozenset(
    f"CGROUP_{name}"
    for name in (
        *("UDP4_RECVMSG", "UDP6_RECVMSG", "UNIX_RECVMSG", "INET4_GETPEERNAME", "INET6_GETPEERNAME"),
        *("UNIX_GETPEERNAME", "INET4_GETSOCKNAME", "INET6_GETSOCKNAME", "UNIX_GETSOCKNAME"),
    )
)
_ZERO_OR_ONE: Final = frozenset(
    {
        ProgramType.CGROUP_SOCK_ADDR,
        ProgramType.CGROUP_SKB,
        ProgramType.CGROUP_SOCK,
        ProgramType.SOCK_OPS,
        ProgramType.CGROUP_DEVICE,
        ProgramType.CGROUP_SYSCTL,
        ProgramType.CGROUP_SOCKOPT,
        ProgramType.SK_LOOKUP,
        ProgramType.NETFILTER,
    }
)


def return_range(
    program_type: ProgramType, attach_type: AttachType | None, ask: Ask
) -> tuple[int, int] | None:
    """Smallest and largest return value that the verifier lets pass; None where it does not look.

    check_return_code in kernel/bpf/verifier.c. LSM hooks have ranges of their own
    (``lsm_hooks.return_range``); a range that grew over the releases is given as the newest kernel has it
    only where BTF shows the change.
    """
    name = attach_type.name if attach_type is not None else ""
    if program_type in _ZERO_OR_ONE:
        if name in _ONE:
            return 1, 1
        if program_type is ProgramType.CGROUP_SKB and name == "CGROUP_INET_EGRESS":
            return 0, 3
        if name in ("CGROUP_INET4_BIND", "CGROUP_INET6_BIND"):
            # Bit 1 skips the check of CAP_NET_BIND_SERVICE since 772412176fb9 (5.12).
            return (0, 1) if since(ask, (5, 12)) is False else (0, 3)
        return 0, 1
    if program_type is ProgramType.TRACING:
        if name.removesuffix("_MULTI") in ("TRACE_FENTRY", "TRACE_FEXIT", "TRACE_FSESSION"):
            return 0, 0
        return (0, 1) if name == "TRACE_ITER" else None
    if program_type is ProgramType.KPROBE and name in ("TRACE_KPROBE_SESSION", "TRACE_UPROBE_SESSION"):
        # Any attach type loads; a kernel that does not know this one (6.10, 6.13) does not look.
        return (0, 1) if ask.btf(Sign.value("bpf_attach_type", f"BPF_{name}")) else None
    return None


# -- kfunc hooks
# ----------------------------------------------------------------------------------------------

_HOOKS_6_1: Final = {
    "XDP": "XDP",
    "SCHED_CLS": "TC",
    "STRUCT_OPS": "STRUCT_OPS",
    "TRACING": "TRACING",
    "LSM": "TRACING",
    "SYSCALL": "SYSCALL",
}
_CGROUP: Final = ("SKB", "SOCK", "DEVICE", "SOCK_ADDR", "SOCKOPT", "SYSCTL")
_HOOKS_6_12: Final = {
    **_HOOKS_6_1,
    "TRACEPOINT": "TRACING",
    "PERF_EVENT": "TRACING",
    **{f"CGROUP_{name}": "CGROUP" for name in _CGROUP},
    "SCHED_ACT": "SCHED_ACT",
    "SK_SKB": "SK_SKB",
    "SOCKET_FILTER": "SOCKET_FILTER",
    **{f"LWT_{name}": "LWT" for name in ("IN", "OUT", "XMIT", "SEG6LOCAL")},
    "NETFILTER": "NETFILTER",
    "KPROBE": "KPROBE",
}
_HOOKS_6_18: Final = {**_HOOKS_6_12, "SOCK_OPS": "CGROUP"}
_HOOKS_7_1: Final = {**_HOOKS_6_18, "RAW_TRACEPOINT": "TRACING"}
_HOOKS: Final[tuple[dict[str, str], ...]] = ({}, _HOOKS_6_1, _HOOKS_6_12, _HOOKS_6_18, _HOOKS_7_1)


def kfunc_hook(program_type: ProgramType, ask: Ask) -> tuple[str | None, Ruling]:
    """The hook (``BTF_KFUNC_HOOK_<name>``) whose kfunc sets a program type sees, and whether that is settled.

    bpf_prog_type_to_kfunc_hook in kernel/bpf/btf.c. (None, NO) means that the type can call no kfunc at all;
    with UNKNOWN the hook is the one that it may have. Types also see the sets registered for UNSPEC (COMMON),
    from 6.2 on. A hook's own enumerator in ``enum btf_kfunc_hook`` settles it where it came together with the
    type's right.
    """
    source = "bpf_prog_type_to_kfunc_hook in kernel/bpf/btf.c"
    name = program_type.name
    trees, by_release = trees_in(ask, TREES)
    by_tree = [_HOOKS[min(tree, len(_HOOKS) - 1)].get(name) for tree in trees]
    hooks = set(by_tree)
    no = Ruling(
        Allowed.NO, f"{name} programs can call no kfunc on this kernel", source, by_release=by_release
    )
    if hooks == {None}:
        return None, no
    hook = next(found for found in reversed(by_tree) if found)
    if None in hooks:
        own = ask.btf(Sign.value("btf_kfunc_hook", f"BTF_KFUNC_HOOK_{hook}"))
        if own is False:
            return None, no
        settled = own and hook == name
        if not settled:
            return hook, Ruling(
                Allowed.UNKNOWN, f"{name} programs got kfuncs between releases that fit", source
            )
    return hook, Ruling(Allowed.YES, "", source, by_release=by_release)
