# SPDX-License-Identifier: Apache-2.0
"""Instructions, LSM hooks, traced functions and iterators."""

from __future__ import annotations

import pytest
from tests.unit.rules.era import Era

from holdfast.insn.features import InsnFeature
from holdfast.rules import fentry, instructions, iterators, lsm_hooks
from holdfast.rules.ask import Allowed, Nothing, Sign
from holdfast.terms import AttachType, ProgramType

YES, NO, UNKNOWN = Allowed.YES, Allowed.NO, Allowed.UNKNOWN


@pytest.mark.parametrize(
    "feature", [feature for feature in InsnFeature if feature is not InsnFeature.UNKNOWN]
)
def test_every_feature_is_settled_by_some_btf(feature: InsnFeature) -> None:
    signs = (
        Sign.value("bpf_cond_pseudo_jmp", "BPF_MAY_GOTO"),
        Sign.value("bpf_addr_space_cast", "BPF_ADDR_SPACE_CAST"),
        Sign.value("bpf_reg_type", "PTR_TO_INSN"),
        Sign.value("bpf_reg_type", "PTR_TO_FUNC"),
        Sign.func("bpf_jit_supports_kfunc_call"),
        Sign.struct("bpf_kfunc_btf_tab"),
    )
    assert instructions.accepted(feature, Era(7, 1, extra=signs)).allowed is YES


def test_features_of_a_release() -> None:
    assert instructions.accepted(InsnFeature.ATOMIC_FETCH, Era(5, 10)).allowed is NO
    assert instructions.accepted(InsnFeature.ATOMIC_FETCH, Era(5, 12)).allowed is YES
    ruling = instructions.accepted(InsnFeature.SDIV_SMOD, Era(6, 5))
    assert ruling.allowed is NO
    assert "6.6" in ruling.why
    assert instructions.accepted(InsnFeature.SDIV_SMOD, Nothing()).allowed is UNKNOWN


def test_the_release_number_is_the_last_resort() -> None:
    class Numbered(Nothing):
        def release(self) -> tuple[int, int]:
            return 6, 12

    ruling = instructions.accepted(InsnFeature.LDSX, Numbered())
    assert (ruling.allowed, ruling.by_release) == (YES, True)


def test_kfunc_calls_need_the_jit() -> None:
    kernel = Era(6, 12, extra=(Sign.func("bpf_jit_supports_kfunc_call"),))
    assert instructions.accepted(InsnFeature.KFUNC_CALL, kernel, jit=False).allowed is NO
    assert instructions.accepted(InsnFeature.KFUNC_CALL, kernel, arch="x86_64").allowed is YES
    assert instructions.accepted(InsnFeature.KFUNC_CALL, kernel, arch="mips64").allowed is UNKNOWN


def test_packet_loads_are_for_few() -> None:
    assert instructions.ld_abs_accepted(ProgramType.SCHED_CLS).allowed is YES
    assert instructions.ld_abs_accepted(ProgramType.XDP).allowed is NO


def test_tail_calls_and_subprograms() -> None:
    mix = instructions.tail_calls_with_subprograms
    assert mix(Era(5, 10), arch="x86_64").allowed is YES
    assert mix(Era(5, 19), arch="aarch64").allowed is NO
    assert mix(Era(6, 0), arch="aarch64").allowed is YES
    assert mix(Era(6, 0), arch="x86_64", jit=False).allowed is NO
    assert mix(Era(6, 0), arch="sparc64").allowed is UNKNOWN


def test_lsm_hooks() -> None:
    kernel = Era(6, 12, extra=(Sign.func("bpf_lsm_file_open"), Sign.func("bpf_lsm_getprocattr")))
    assert lsm_hooks.attachable("file_open", kernel).allowed is YES
    assert lsm_hooks.attachable("getprocattr", kernel).allowed is NO
    assert lsm_hooks.attachable("no_such_hook", kernel).allowed is NO
    assert lsm_hooks.sleepable("file_open", kernel).allowed is YES
    assert lsm_hooks.sleepable("task_free", kernel).allowed is NO


def test_lsm_return_values() -> None:
    mac, cgroup = AttachType.LSM_MAC, AttachType.LSM_CGROUP
    assert lsm_hooks.return_range("file_open", mac, False, Era(6, 1)) is None
    assert lsm_hooks.return_range("file_open", mac, False, Era(6, 12)) == (-4095, 0)
    assert lsm_hooks.return_range("inode_xattr_skipcap", mac, False, Era(6, 12)) == (0, 1)
    assert lsm_hooks.return_range("file_free_security", mac, True, Era(6, 12)) is None
    assert lsm_hooks.return_range("sk_free_security", cgroup, True, Era(6, 12)) == (1, 1)


def test_functions_that_may_not_be_traced() -> None:
    assert fentry.attachable("migrate_disable", AttachType.TRACE_FENTRY, Era(6, 12)).allowed is NO
    assert fentry.attachable("vfs_read", AttachType.TRACE_FENTRY, Era(6, 12)).allowed is YES
    assert fentry.attachable("do_exit", AttachType.TRACE_FEXIT, Era(6, 18)).allowed is NO
    assert fentry.attachable("do_exit", AttachType.TRACE_FENTRY, Era(6, 18)).allowed is YES
    assert fentry.attachable("vfs_read", AttachType.TRACE_FENTRY, Era(5, 10), arch="aarch64").allowed is NO


def test_where_fmod_ret_and_sleep_are_known_to_be_fine() -> None:
    assert fentry.may_modify_return("security_file_open", Era(6, 12)).allowed is YES
    assert fentry.may_modify_return("vfs_read", Era(6, 12)).allowed is UNKNOWN
    assert fentry.may_sleep("__x64_sys_getpgid", Era(6, 12), arch="x86_64").allowed is YES
    assert fentry.may_sleep("should_failslab", Era(6, 12)).allowed is NO
    assert fentry.may_sleep("vfs_read", Era(6, 12)).allowed is UNKNOWN


def test_without_error_injection_only_new_kernels_open_system_calls() -> None:
    off = {"FUNCTION_ERROR_INJECTION": False}
    call = "__x64_sys_getpgid"
    for release, allowed in (((6, 18), NO), ((7, 0), UNKNOWN), ((7, 1), YES)):
        ask = Era(*release, options=off)
        assert fentry.may_sleep(call, ask, arch="x86_64").allowed is allowed
        assert fentry.may_modify_return(call, ask, arch="x86_64").allowed is allowed
        assert fentry.may_sleep("vfs_read", ask).allowed is NO
        assert fentry.may_modify_return("security_file_open", ask).allowed is YES


def test_functions_in_an_fmod_ret_set_need_no_error_injection() -> None:
    ask = Era(6, 12, options={"FUNCTION_ERROR_INJECTION": False})
    assert fentry.may_modify_return("bpf_modify_return_test", ask).allowed is YES
    assert fentry.may_sleep("bpf_fentry_test1", ask).allowed is YES
    assert fentry.may_sleep("bpf_modify_return_test", ask).allowed is NO


def test_iterators() -> None:
    kernel = Era(
        6,
        12,
        extra=(Sign.func("bpf_iter_task"), Sign.struct("bpf_iter__task"), Sign.func("bpf_iter_run_prog")),
    )
    assert iterators.exists("task", kernel).allowed is YES
    assert iterators.exists("run_prog", kernel).allowed is NO
    assert iterators.exists("dmabuf", kernel).allowed is NO
    assert iterators.sleepable("task", kernel).allowed is YES
    assert iterators.sleepable("bpf_map", kernel).allowed is NO
    assert iterators.sleepable("task", Era(5, 10)).allowed is NO
