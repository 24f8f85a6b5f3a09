# SPDX-License-Identifier: Apache-2.0
"""Whether a program or map type that a kernel knows is also compiled in, told without a probe.

Enumerations list every type of the source. ``include/linux/bpf_types.h`` says which options compile one in
(read in 5.10, 6.1, 6.12, 6.18 and 7.1, where it is the same but for what is noted), and the file of each type
has a function that is in BTF when it was compiled. Its presence is proof. Its absence is none, because pahole
leaves functions out (two static ones of one name, for instance), so the config decides, and without one
nothing does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.btf.types import Kind
from holdfast.kernels.answer import Answer
from holdfast.terms import Evidence, MapType, ProgramType

if TYPE_CHECKING:
    from holdfast.kernels.facts import KernelFacts

__all__ = ["map_type", "program_type"]


@dataclass(frozen=True, slots=True)
class _Gate:
    """The options that must all be set, and a function that is there only then ("" for none)."""

    options: tuple[str, ...]
    sign: str = ""


def _net(sign: str) -> _Gate:
    return _Gate(("CONFIG_NET",), sign)


def _events(sign: str) -> _Gate:
    return _Gate(("CONFIG_BPF_EVENTS",), sign)


_CGROUP_SIGN: Final = "__cgroup_bpf_run_filter_skb"
_CGROUP_NET: Final = _Gate(("CONFIG_NET", "CONFIG_CGROUP_BPF"), _CGROUP_SIGN)
_JIT: Final = _Gate(("CONFIG_BPF_JIT",), "bpf_struct_ops_map_alloc")
_ALWAYS: Final = _Gate(())

_PROGRAMS: Final[dict[ProgramType, _Gate]] = {
    ProgramType.SOCKET_FILTER: _net("sk_filter_is_valid_access"),
    ProgramType.SCHED_CLS: _net("tc_cls_act_is_valid_access"),
    ProgramType.SCHED_ACT: _net("tc_cls_act_is_valid_access"),
    ProgramType.XDP: _net("xdp_is_valid_access"),
    ProgramType.CGROUP_SKB: _CGROUP_NET,
    ProgramType.CGROUP_SOCK: _CGROUP_NET,
    ProgramType.CGROUP_SOCK_ADDR: _CGROUP_NET,
    ProgramType.LWT_IN: _net("lwt_is_valid_access"),
    ProgramType.LWT_OUT: _net("lwt_is_valid_access"),
    ProgramType.LWT_XMIT: _net("lwt_is_valid_access"),
    ProgramType.LWT_SEG6LOCAL: _net("lwt_is_valid_access"),
    ProgramType.SOCK_OPS: _net("sock_ops_is_valid_access"),
    ProgramType.SK_SKB: _net("sk_skb_is_valid_access"),
    ProgramType.SK_MSG: _net("sk_msg_is_valid_access"),
    ProgramType.FLOW_DISSECTOR: _net("flow_dissector_is_valid_access"),
    ProgramType.KPROBE: _events("kprobe_prog_is_valid_access"),
    ProgramType.TRACEPOINT: _events("tp_prog_is_valid_access"),
    ProgramType.PERF_EVENT: _events("pe_prog_is_valid_access"),
    ProgramType.RAW_TRACEPOINT: _events("raw_tp_prog_is_valid_access"),
    ProgramType.RAW_TRACEPOINT_WRITABLE: _events("raw_tp_writable_prog_is_valid_access"),
    ProgramType.TRACING: _events("tracing_prog_is_valid_access"),
    ProgramType.CGROUP_DEVICE: _Gate(("CONFIG_CGROUP_BPF",), _CGROUP_SIGN),
    ProgramType.CGROUP_SYSCTL: _Gate(("CONFIG_CGROUP_BPF",), _CGROUP_SIGN),
    ProgramType.CGROUP_SOCKOPT: _Gate(("CONFIG_CGROUP_BPF",), _CGROUP_SIGN),
    ProgramType.LIRC_MODE2: _Gate(("CONFIG_BPF_LIRC_MODE2",), "lirc_mode2_is_valid_access"),
    ProgramType.SK_REUSEPORT: _Gate(("CONFIG_INET",), "sk_reuseport_is_valid_access"),
    ProgramType.SK_LOOKUP: _Gate(("CONFIG_INET",), "sk_lookup_is_valid_access"),
    ProgramType.STRUCT_OPS: _JIT,
    ProgramType.EXT: _JIT,
    # kernel/bpf/Makefile builds bpf_lsm.o only with both.
    ProgramType.LSM: _Gate(("CONFIG_BPF_JIT", "CONFIG_BPF_LSM"), "bpf_lsm_verify_prog"),
    ProgramType.SYSCALL: _ALWAYS,
    ProgramType.NETFILTER: _Gate(("CONFIG_NETFILTER_BPF_LINK",), "nf_is_valid_access"),
}
_MAPS: Final[dict[MapType, _Gate]] = {
    MapType.CGROUP_ARRAY: _Gate(("CONFIG_CGROUPS",), "cgroup_fd_array_get_ptr"),
    MapType.CGRP_STORAGE: _Gate(("CONFIG_CGROUPS",)),
    MapType.CGROUP_STORAGE: _Gate(("CONFIG_CGROUP_BPF",), _CGROUP_SIGN),
    MapType.PERCPU_CGROUP_STORAGE: _Gate(("CONFIG_CGROUP_BPF",), _CGROUP_SIGN),
    MapType.STACK_TRACE: _Gate(("CONFIG_PERF_EVENTS",), "stack_map_alloc"),
    MapType.INODE_STORAGE: _Gate(("CONFIG_BPF_LSM",), "inode_storage_map_alloc"),
    MapType.DEVMAP: _net("dev_map_alloc"),
    MapType.DEVMAP_HASH: _net("dev_map_alloc"),
    MapType.SK_STORAGE: _net("bpf_sk_storage_map_alloc"),
    MapType.CPUMAP: _net("cpu_map_alloc"),
    MapType.XSKMAP: _Gate(("CONFIG_NET", "CONFIG_XDP_SOCKETS"), "xsk_map_alloc"),
    MapType.SOCKMAP: _Gate(("CONFIG_INET",), "sock_map_alloc"),
    MapType.SOCKHASH: _Gate(("CONFIG_INET",), "sock_hash_alloc"),
    MapType.REUSEPORT_SOCKARRAY: _Gate(("CONFIG_INET",), "reuseport_array_alloc"),
    MapType.STRUCT_OPS: _JIT,
    MapType.ARENA: _Gate(("CONFIG_MMU", "CONFIG_64BIT"), "arena_map_alloc"),
}
# 5.10 has these with CONFIG_BPF_STREAM_PARSER only, 6.1 with CONFIG_INET; what lies between was not read.
_STREAM_PARSER: Final = frozenset({MapType.SOCKMAP, MapType.SOCKHASH})


def program_type(facts: KernelFacts, wanted: ProgramType) -> Answer:
    """Whether a type that the kernel knows is compiled in, by a BTF sign or the config."""
    gate = _PROGRAMS.get(wanted)
    return _judge(facts, gate, wanted.name) if gate else _untold(wanted.name)


def map_type(facts: KernelFacts, wanted: MapType) -> Answer:
    """Whether a type that the kernel knows is compiled in, by a BTF sign or the config."""
    gate = _MAPS.get(wanted, _ALWAYS)
    if wanted in _STREAM_PARSER and facts.map_type_known(MapType.USER_RINGBUF).value is not True:
        # USER_RINGBUF came with 6.1.
        gate = _Gate(("CONFIG_NET", "CONFIG_BPF_STREAM_PARSER"))
        answer = _judge(facts, gate, wanted.name)
        return answer if answer.value is True else _untold(wanted.name)
    return _judge(facts, gate, wanted.name)


def _judge(facts: KernelFacts, gate: _Gate, name: str) -> Answer:
    if facts.config_enabled("CONFIG_BPF_SYSCALL").value is False:
        return Answer(False, Evidence.CONFIG, "CONFIG_BPF_SYSCALL is not set")
    if not gate.options:
        return Answer(True, Evidence.RULE, f"{name} is compiled in whenever the kernel knows it")
    if gate.sign and facts.vmlinux is not None and facts.vmlinux.find_all(gate.sign, Kind.FUNC):
        return Answer(True, Evidence.BTF, f"function {gate.sign} of {name} is in BTF")
    for option in gate.options:
        answer = facts.config_enabled(option)
        if answer.value is not True:
            return _untold(name) if answer.value is None else answer
    return Answer(True, Evidence.CONFIG, " and ".join(f"{option} is set" for option in gate.options))


def _untold(name: str) -> Answer:
    note = f"the kernel knows {name}; nothing tells whether it is compiled in"
    return Answer(None, Evidence.NONE, note)
