# SPDX-License-Identifier: Apache-2.0
"""What the outcome of a trial means, with logs as several releases write them."""

from __future__ import annotations

import errno

import pytest

from holdfast.kernels.probe.judge import Trial, judge, shape

STATS = "processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0"


def refused(code: int, *lines: str) -> Trial:
    return Trial(False, code, "\n".join([*lines, STATS]) + "\n")


def kfunc(name: str, number: int, *after: str, start: str = "0: R1=ctx() R10=fp0") -> Trial:
    return refused(errno.EACCES, start, f"0: (85) call {name}#{number}", *after)


CONTROL = kfunc("vfs_read", 71234, "calling kernel function vfs_read is not allowed")


@pytest.mark.parametrize(
    ("trial", "answer"),
    [
        (Trial(True, 0, ""), True),
        (kfunc("bpf_x", 9, "calling kernel function bpf_x is not allowed"), False),
        (kfunc("bpf_x", 9, "R2 !read_ok"), True),
        (kfunc("bpf_x", 9, "program must be sleepable to call sleepable kfunc bpf_x"), True),
        # It stopped before the call: nothing was said about who may make it.
        (refused(errno.EINVAL, "metadata kfuncs require device-bound program"), None),
        (refused(errno.EINVAL, "cannot find address for kernel function bpf_x"), None),
        (Trial(False, errno.EPERM, ""), None),
        # Another way to the call than the control's.
        (kfunc("bpf_x", 9, "R2 !read_ok", start="0: something new"), None),
    ],
)
def test_kfuncs_are_judged_by_a_control(trial: Trial, answer: bool | None) -> None:
    control = shape(CONTROL)
    assert control is not None
    assert judge(trial, [control]) is answer


def helper(code: int, token: str, after: str, start: str = "0: R1=ctx(id=0,off=0,imm=0) R10=fp0") -> Trial:
    return refused(code, start, f"0: (85) call {token}", after)


@pytest.mark.parametrize(
    "wording",
    [
        "unknown func {}",  # up to 6.8
        "program of this type cannot use helper {}",
        "a wording of 2031 for {}",
    ],
)
def test_no_wording_is_known_beforehand(wording: str) -> None:
    token = "bpf_redirect_map#51"
    control = shape(helper(errno.EINVAL, token, wording.format(token)))
    assert control is not None
    other = "bpf_skb_load_bytes#26"
    assert judge(helper(errno.EINVAL, other, wording.format(other)), [control]) is False
    assert judge(helper(errno.EACCES, other, "R2 !read_ok"), [control]) is True
    # The same line with another errno is another refusal.
    assert judge(helper(errno.EACCES, other, wording.format(other)), [control]) is True


def test_without_a_control_only_success_is_an_answer() -> None:
    assert judge(CONTROL, []) is None
    assert judge(Trial(True, 0, ""), []) is True


def test_what_follows_the_call_on_its_line_does_not_count() -> None:
    plain = shape(kfunc("f", 1, "x"))
    with_state = shape(
        refused(errno.EACCES, "0: R1=ctx() R10=fp0", "0: (85) call f#1   ; R0_w=scalar()", "x")
    )
    assert plain == with_state


def test_a_log_without_the_call_has_no_shape() -> None:
    assert shape(refused(errno.EINVAL, "back-edge from insn 0 to 0")) is None
    assert shape(Trial(True, 0, "0: (85) call f#1")) is None
    assert shape(Trial(False, errno.EINVAL, "0: (85) call f#1")) is not None  # cut off after the call
