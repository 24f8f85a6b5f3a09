# SPDX-License-Identifier: Apache-2.0
"""Who may call which helper; the running kernel judges the whole table in tests/oracle/rules."""

from __future__ import annotations

import pytest
from tests.unit.rules.era import Era

from holdfast.rules import helpers
from holdfast.rules.ask import Allowed, Ruling, Sign
from holdfast.terms import AttachType, ProgramType

YES, NO, UNKNOWN = Allowed.YES, Allowed.NO, Allowed.UNKNOWN


def ask(
    name: str,
    kind: ProgramType,
    kernel: Era,
    attach: AttachType | None = None,
    *,
    sleepable: bool = False,
    gpl: bool = True,
    target: str | None = None,
) -> Ruling:
    number = helpers.helper_number(name)
    assert number is not None
    return helpers.callable_from(number, kind, attach, sleepable, kernel, gpl_compatible=gpl, target=target)


def test_names_and_numbers() -> None:
    assert helpers.helper_name(1) == "bpf_map_lookup_elem"
    assert helpers.helper_number("bpf_cgrp_storage_delete") == 211
    assert helpers.helper_name(9999) == "helper #9999"
    assert helpers.helper_number("bpf_nonsense") is None


def test_a_helper_that_the_kernel_lacks_is_said_to_be_lacking() -> None:
    ruling = ask("bpf_loop", ProgramType.XDP, Era(5, 10))
    assert ruling.allowed is NO
    assert ruling.why == "this kernel's enum bpf_func_id ends before bpf_loop (#181)"


def test_a_number_beyond_all_tables_is_unknown() -> None:
    ruling = helpers.callable_from(5000, ProgramType.XDP, None, False, Era(7, 1))
    assert ruling.allowed is UNKNOWN


def test_types_get_what_the_switch_gives_them() -> None:
    kernel = Era(6, 12)
    assert ask("skb_store_bytes", ProgramType.SCHED_CLS, kernel).allowed is YES
    ruling = ask("skb_store_bytes", ProgramType.SOCKET_FILTER, kernel)
    assert (ruling.allowed, ruling.why) == (
        NO,
        "programs of type SOCKET_FILTER are not offered bpf_skb_store_bytes",
    )


def test_licence_counts() -> None:
    assert ask("fib_lookup", ProgramType.XDP, Era(6, 12), gpl=True).allowed is YES
    ruling = ask("fib_lookup", ProgramType.XDP, Era(6, 12), gpl=False)
    assert ruling.allowed is NO
    assert "GPL-compatible" in ruling.why


def test_capabilities_that_nobody_checked_are_named() -> None:
    kernel = Era(6, 12)
    assert ask("ktime_get_ns", ProgramType.XDP, kernel).capabilities == ()
    assert ask("trace_printk", ProgramType.XDP, kernel).capabilities == ("CAP_BPF", "CAP_PERFMON")
    kernel.capabilities = {"CAP_BPF": True, "CAP_PERFMON": False}
    ruling = ask("trace_printk", ProgramType.XDP, kernel)
    assert (ruling.allowed, ruling.why) == (NO, "bpf_trace_printk needs CAP_PERFMON")


def test_options_count() -> None:
    kernel = Era(6, 12, options={"BPF_KPROBE_OVERRIDE": False})
    ruling = ask("override_return", ProgramType.KPROBE, kernel)
    assert (ruling.allowed, ruling.why) == (NO, "bpf_override_return needs CONFIG_BPF_KPROBE_OVERRIDE")


def test_lockdown_counts_and_is_assumed_off_aloud() -> None:
    kernel = Era(6, 12)
    kernel.forbidden = frozenset({"BPF_READ_KERNEL"})
    assert ask("probe_read_kernel", ProgramType.KPROBE, kernel).allowed is NO
    kernel.forbidden = None
    ruling = ask("probe_read_kernel", ProgramType.KPROBE, kernel)
    assert (ruling.allowed, ruling.assumes) == (YES, ("BPF_READ_KERNEL",))


def test_what_sleeps_needs_a_sleepable_program() -> None:
    assert ask("copy_from_user", ProgramType.KPROBE, Era(6, 1), sleepable=True).allowed is YES
    assert ask("copy_from_user", ProgramType.KPROBE, Era(6, 1)).allowed is NO


@pytest.mark.parametrize(
    ("attach", "allowed"),
    [(AttachType.CGROUP_INET4_CONNECT, YES), (AttachType.CGROUP_INET4_BIND, NO), (None, UNKNOWN)],
)
def test_the_attach_type_counts(attach: AttachType | None, allowed: Allowed) -> None:
    assert ask("bind", ProgramType.CGROUP_SOCK_ADDR, Era(6, 1), attach).allowed is allowed


def test_attach_type_zero_is_not_the_absence_of_one() -> None:
    kernel = Era(6, 1)
    ingress = AttachType.CGROUP_INET_INGRESS
    assert ask("set_retval", ProgramType.CGROUP_SKB, kernel, ingress).allowed is NO
    assert ask("set_retval", ProgramType.CGROUP_SOCK, kernel).allowed is YES  # 0 becomes INET_SOCK_CREATE
    assert ask("set_retval", ProgramType.CGROUP_SOCK, kernel, ingress).allowed is YES


@pytest.mark.parametrize("kind", [AttachType.TRACE_FENTRY_MULTI, AttachType.TRACE_FSESSION_MULTI])
def test_what_7_2_gave_to_its_own_attach_types(kind: AttachType) -> None:
    for name in ("get_attach_cookie", "get_func_arg", "get_func_ret", "get_func_arg_cnt"):
        assert ask(name, ProgramType.TRACING, Era(7, 2), kind).allowed is YES, name
        assert ask(name, ProgramType.TRACING, Era(7, 1), kind).allowed is NO, name


def test_what_7_2_took_away() -> None:
    unix = AttachType.CGROUP_UNIX_GETPEERNAME
    for kernel, allowed in ((Era(7, 1), YES), (Era(7, 2), NO), (Era(7, 3), NO)):
        assert ask("setsockopt", ProgramType.CGROUP_SOCK_ADDR, kernel, unix).allowed is allowed
        assert ask("skb_pull_data", ProgramType.LWT_SEG6LOCAL, kernel).allowed is allowed
        assert ask("skb_pull_data", ProgramType.LWT_XMIT, kernel).allowed is YES


def test_the_lsm_hook_counts() -> None:
    kernel, mac = Era(6, 12), AttachType.LSM_MAC
    hook = "bpf_lsm_file_open"
    assert ask("ima_file_hash", ProgramType.LSM, kernel, mac, sleepable=True, target=hook).allowed is YES
    other = "bpf_lsm_task_free"
    assert ask("ima_file_hash", ProgramType.LSM, kernel, mac, sleepable=True, target=other).allowed is NO
    assert ask("ima_file_hash", ProgramType.LSM, kernel, mac, sleepable=True).allowed is UNKNOWN


def test_d_path_goes_by_the_traced_function() -> None:
    kernel, fentry = Era(6, 12), AttachType.TRACE_FENTRY
    assert ask("d_path", ProgramType.TRACING, kernel, fentry, target="vfs_truncate").allowed is YES
    assert ask("d_path", ProgramType.TRACING, kernel, fentry, target="vfs_read").allowed is NO
    assert (
        ask("d_path", ProgramType.TRACING, kernel, AttachType.TRACE_ITER, target="bpf_iter_task").allowed
        is YES
    )


def test_an_iterator_may_hand_out_helpers_of_its_own() -> None:
    sign = Sign.func("bpf_iter_tcp_get_func_proto")
    iterator = AttachType.TRACE_ITER
    with_it = Era(6, 12, extra=(sign,))
    assert ask("setsockopt", ProgramType.TRACING, with_it, iterator, target="bpf_iter_tcp").allowed is YES
    assert ask("setsockopt", ProgramType.TRACING, Era(6, 12), iterator, target="bpf_iter_tcp").allowed is NO
    assert ask("setsockopt", ProgramType.TRACING, with_it, iterator, target="bpf_iter_udp").allowed is NO


def test_struct_ops_go_by_their_operations() -> None:
    kernel, kind = Era(6, 12), ProgramType.STRUCT_OPS
    assert ask("tcp_send_ack", kind, kernel, target="tcp_congestion_ops.init").allowed is YES
    assert ask("setsockopt", kind, kernel, target="tcp_congestion_ops.release").allowed is NO
    assert ask("setsockopt", kind, kernel, target="tcp_congestion_ops.init").allowed is YES
    assert ask("tcp_send_ack", kind, kernel, target="hid_bpf_ops.hid_device_event").allowed is NO
    assert ask("ktime_get_ns", kind, kernel, target="hid_bpf_ops.hid_device_event").allowed is YES


def test_between_trees_a_function_of_the_same_change_decides() -> None:
    kind = ProgramType.SCHED_CLS
    sign = Sign.func("bpf_get_netns_cookie")
    assert ask("get_netns_cookie", kind, Era(6, 14, extra=(sign,))).allowed is YES
    assert ask("get_netns_cookie", kind, Era(6, 14)).allowed is NO
    assert ask("get_netns_cookie", kind, Era(6, 12)).allowed is NO
    assert ask("get_netns_cookie", kind, Era(6, 18)).allowed is YES


def test_between_trees_with_no_trace_it_is_unknown() -> None:
    ruling = ask("find_vma", ProgramType.XDP, Era(6, 14))
    assert ruling.allowed is UNKNOWN
    assert "changed" in ruling.why
    assert ask("find_vma", ProgramType.XDP, Era(6, 12)).allowed is NO
    assert ask("find_vma", ProgramType.XDP, Era(6, 18)).allowed is YES


def test_an_extension_asks_for_the_replaced_program() -> None:
    assert ask("ktime_get_ns", ProgramType.EXT, Era(6, 12)).allowed is UNKNOWN


def test_a_ruling_is_no_boolean() -> None:
    with pytest.raises(TypeError):
        bool(ask("ktime_get_ns", ProgramType.XDP, Era(6, 12)))
