# SPDX-License-Identifier: Apache-2.0
"""Options of a kernel whose config is not at hand, as far as its BTF or its architecture gives them away.

A sign is there with that option alone; several are named where a compiler may inline one. Presence proves
the option; absence proves nothing, for pahole leaves functions out.
"""

from __future__ import annotations

from typing import Final

from holdfast.rules.ask import Sign

__all__ = ["OPTIONS_OF_ARCH", "SIGNS_OF_OPTION"]


def _functions(*names: str) -> tuple[Sign, ...]:
    return tuple(map(Sign.func, names))


def _compiled_in(program_type: str) -> Sign:
    """struct bpf_ctx_convert (kernel/bpf/btf.c) has a member for each program type that is compiled in."""
    return Sign.member("bpf_ctx_convert", f"BPF_PROG_TYPE_{program_type}_prog")


SIGNS_OF_OPTION: Final[dict[str, tuple[Sign, ...]]] = {
    "NET": (_compiled_in("SOCKET_FILTER"), *_functions("sk_filter_is_valid_access")),
    "INET": _functions("tcp_v4_connect", "inet_csk_accept"),
    "BPF_EVENTS": (_compiled_in("KPROBE"), *_functions("tp_prog_is_valid_access")),
    "PERF_EVENTS": _functions("stack_map_alloc", "perf_event_read_local", "perf_event_read_value"),
    "CGROUPS": _functions("cgroup_fd_array_get_ptr", "bpf_get_current_cgroup_id", "cgroup_get_from_fd"),
    "CGROUP_BPF": _functions("__cgroup_bpf_run_filter_skb", "cgroup_bpf_inherit"),
    "CGROUP_NET_CLASSID": _functions("task_cls_state", "bpf_get_cgroup_classid_curr"),
    "SOCK_CGROUP_DATA": _functions("bpf_skb_cgroup_id", "cgroup_sk_alloc"),
    "BPF_LSM": _functions("bpf_lsm_verify_prog", "bpf_lsm_file_open"),
    "BPF_JIT": _functions("bpf_struct_ops_map_alloc", "bpf_trampoline_link_prog"),
    "XFRM": _functions("bpf_skb_get_xfrm_state"),
    "SYN_COOKIES": _functions("__cookie_v4_init_sequence"),
    "IPV6_SEG6_BPF": _functions("bpf_lwt_seg6_store_bytes"),
    "BPF_KPROBE_OVERRIDE": _functions("bpf_override_return"),
    "XDP_SOCKETS": _functions("xsk_map_alloc"),
    "BPF_STREAM_PARSER": _functions("sk_psock_strp_read"),
    "BPF_LIRC_MODE2": _functions("lirc_mode2_is_valid_access"),
    "ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE": _functions("bpf_probe_read_compat"),
    "NETFILTER_BPF_LINK": _functions("nf_is_valid_access"),
}
"""Option without ``CONFIG_`` -> signs that are there only with it (trees 5.10 to 7.1)."""

OPTIONS_OF_ARCH: Final[dict[str, frozenset[str]]] = {
    arch: frozenset({"ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE", "64BIT", "MMU"})
    for arch in ("x86_64", "aarch64")
}
"""``uname -m`` -> options that its Kconfig selects in every build (arch/x86/Kconfig, arch/arm64/Kconfig)."""
