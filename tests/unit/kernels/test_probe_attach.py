# SPDX-License-Identifier: Apache-2.0
"""Requests for attachments that cannot come about, as kernels of several ages answer them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from holdfast import sys as kernel
from holdfast.kernels.probe import discover
from holdfast.kernels.probe.attach import ATTACHMENTS, LINK_TYPES, Attacher
from holdfast.kernels.probe.calls import Prober
from holdfast.terms import AttachType, ProgramType

NOBODY = 0x7FF0
ENOTSUPP = 524


class MadeUp:
    """A kernel without BTF: programs load or do not, and each bpf(2) ends in an errno."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Callable[[int, int], int]) -> None:
        self.refused: set[int] = set()
        self.maps = ENOTSUPP
        self.asked: list[tuple[int, int]] = []

        def bpf(command: int, request: bytes) -> int:
            place = {kernel.Command.PROG_QUERY: 1, kernel.Command.RAW_TRACEPOINT_OPEN: 2}.get(
                kernel.Command(command), 2
            )
            number = int.from_bytes(request[4 * place : 4 * place + 4], "little")
            self.asked.append((command, number))
            raise OSError(answer(command, number), "made up")

        def prog_load(prog_type: int, insns: bytes, **more: int) -> kernel.RawLoad:
            if prog_type in self.refused or prog_type == NOBODY:
                return kernel.RawLoad(None, errno.EINVAL, "")
            read, write = os.pipe()
            os.close(write)
            return kernel.RawLoad(kernel.OwnedFd(read), 0, "processed 2 insns")

        def map_create(map_type: int, *, flags: int = 0, **more: int) -> kernel.OwnedFd:
            raise OSError(self.maps if flags else ENOTSUPP, "made up")

        monkeypatch.setattr(kernel, "bpf", bpf)
        monkeypatch.setattr(kernel, "prog_load", prog_load)
        monkeypatch.setattr(kernel, "map_create", map_create)
        self.attacher = Attacher(Prober(None, {}))


ASKED = (
    AttachType.CGROUP_SYSCTL,
    AttachType.TCX_INGRESS,
    AttachType.SK_MSG_VERDICT,
    AttachType.PERF_EVENT,
    AttachType.TRACE_UPROBE_MULTI,
    AttachType.NETFILTER,
)


@pytest.mark.parametrize(
    ("code", "nobody", "answer"),
    [
        (errno.EBADF, errno.EINVAL, True),
        (errno.ENODEV, errno.EINVAL, True),
        (errno.EFAULT, errno.EINVAL, True),
        (errno.EAFNOSUPPORT, errno.EINVAL, True),
        (errno.EINVAL, errno.EINVAL, False),
        (errno.EOPNOTSUPP, errno.EINVAL, False),
        (ENOTSUPP, errno.EINVAL, False),
        # Policy, or a filter of system calls that answers for the kernel.
        (errno.EPERM, errno.EINVAL, None),
        (errno.EACCES, errno.EINVAL, None),
        (errno.EBADF, errno.ENOSYS, None),
        (errno.EBADF, errno.EBADF, None),
    ],
)
@pytest.mark.parametrize("wanted", ASKED, ids=lambda one: one.name)
def test_what_is_known_is_told_by_what_a_number_gets_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch, wanted: AttachType, code: int, nobody: int, answer: bool | None
) -> None:
    made_up = MadeUp(monkeypatch, lambda _command, number: nobody if number == NOBODY else code)
    assert made_up.attacher.attach_type(wanted) is answer
    assert {number for _, number in made_up.asked} == {wanted, NOBODY}


def test_without_the_program_type_there_is_no_attachment(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(monkeypatch, lambda _command, _number: errno.EBADF)
    made_up.refused = {ProgramType.NETFILTER, ProgramType.SK_MSG}
    assert made_up.attacher.attach_type(AttachType.NETFILTER) is False
    assert made_up.attacher.link_type("SOCKMAP") is False
    assert made_up.asked == []


def test_numbers_that_nobody_looks_at_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # 5.10 loads SK_REUSEPORT with any.
    made_up = MadeUp(monkeypatch, lambda _command, _number: errno.EINVAL)
    assert made_up.attacher.attach_type(AttachType.SK_REUSEPORT_SELECT) is None


@pytest.mark.parametrize(
    ("with_link", "answer"), [(ENOTSUPP, True), (errno.EINVAL, False), (errno.EPERM, None)]
)
def test_links_of_struct_ops(monkeypatch: pytest.MonkeyPatch, with_link: int, answer: bool | None) -> None:
    made_up = MadeUp(monkeypatch, lambda _command, _number: errno.EINVAL)
    made_up.maps = with_link
    assert made_up.attacher.attach_type(AttachType.STRUCT_OPS) is answer
    assert made_up.attacher.link_type("STRUCT_OPS") is answer
    assert made_up.attacher.attachment("struct_ops.link") is answer


def test_nothing_is_unknown_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(monkeypatch, lambda _command, _number: errno.EINVAL)
    for name in LINK_TYPES:
        assert made_up.attacher.link_type(name) in (True, False, None)
    for section in ATTACHMENTS:
        assert made_up.attacher.attachment(section) in (True, False, None)
    assert made_up.attacher.link_type("XDP") is None
    assert made_up.attacher.attach_type(AttachType.XDP) is None


@pytest.mark.parametrize(
    ("name", "maybe"),
    [
        ("bpf_dynptr_slice", True),
        ("bpf_map_sum_elem_count", True),
        ("bpf_iter_task_new", True),
        ("scx_bpf_dsq_insert", True),
        ("hid_bpf_get_data", True),
        ("tcp_slow_start", True),
        ("cubictcp_acked", True),
        ("css_rstat_flush", True),
        ("crash_kexec", True),
        ("bpf_prog_load", False),
        ("__bpf_trace_sched_switch", False),
        ("bpf_lsm_file_open", False),
        ("vfs_read", False),
    ],
)
def test_names_that_may_be_a_kfuncs(name: str, maybe: bool) -> None:
    assert discover.may_be(name) is maybe
