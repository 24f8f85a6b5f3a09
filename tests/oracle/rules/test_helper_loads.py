# SPDX-License-Identifier: Apache-2.0
"""The helper table against the running kernel: each helper called from each program type that loads without a
target.

The kernel looks a helper up before it judges the arguments, so `call helper; exit` tells which it is.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import liverules

from holdfast import sys as kernel
from holdfast.rules import helpers
from holdfast.rules.ask import Allowed
from holdfast.rules.btf_ask import BtfAsk
from holdfast.rules.helper_table import HELPERS
from holdfast.terms import AttachType, ProgramType

pytestmark = [pytest.mark.oracle, pytest.mark.live, pytest.mark.usefixtures("live")]

CASES: tuple[tuple[ProgramType, AttachType | None, bool], ...] = (
    (ProgramType.SOCKET_FILTER, None, False),
    (ProgramType.SCHED_CLS, None, False),
    (ProgramType.SCHED_ACT, None, False),
    (ProgramType.XDP, None, False),
    (ProgramType.CGROUP_SKB, AttachType.CGROUP_INET_INGRESS, False),
    (ProgramType.CGROUP_SOCK, None, False),
    (ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_RELEASE, False),
    (ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT, False),
    (ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP6_RECVMSG, False),
    (ProgramType.CGROUP_DEVICE, AttachType.CGROUP_DEVICE, False),
    (ProgramType.CGROUP_SYSCTL, AttachType.CGROUP_SYSCTL, False),
    (ProgramType.CGROUP_SOCKOPT, AttachType.CGROUP_SETSOCKOPT, False),
    (ProgramType.CGROUP_SOCKOPT, AttachType.CGROUP_GETSOCKOPT, False),
    (ProgramType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS, False),
    (ProgramType.SK_SKB, None, False),
    (ProgramType.SK_MSG, AttachType.SK_MSG_VERDICT, False),
    (ProgramType.SK_REUSEPORT, None, False),
    (ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP, False),
    (ProgramType.FLOW_DISSECTOR, None, False),
    (ProgramType.LWT_IN, None, False),
    (ProgramType.LWT_OUT, None, False),
    (ProgramType.LWT_XMIT, None, False),
    (ProgramType.LWT_SEG6LOCAL, None, False),
    (ProgramType.LIRC_MODE2, None, False),
    (ProgramType.KPROBE, None, False),
    (ProgramType.KPROBE, None, True),
    (ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI, False),
    (ProgramType.TRACEPOINT, None, False),
    (ProgramType.RAW_TRACEPOINT, None, False),
    (ProgramType.PERF_EVENT, None, False),
    (ProgramType.SYSCALL, None, True),
    (ProgramType.NETFILTER, AttachType.NETFILTER, False),
)
REFUSALS = (
    "cannot use helper",
    "unknown func",
    "invalid func",
    "helper call might sleep",
    "helper call is not allowed",
    "cannot call GPL-restricted",
)


@pytest.fixture(scope="module")
def ask() -> BtfAsk:
    return liverules.ask()


def offered(
    helper: int, kind: ProgramType, attach: AttachType | None, sleepable: bool
) -> tuple[bool | None, str]:
    insns = (
        struct.pack("=BBhi", 0x85, 0, 0, helper) + struct.pack("=BBhi", 0xB7, 0, 0, 0) + b"\x95" + bytes(7)
    )
    result = kernel.prog_load(
        kind,
        insns,
        expected_attach_type=attach or 0,
        flags=int(kernel.ProgFlag.SLEEPABLE) if sleepable else 0,
        log_level=1,
        kern_version=liverules.version_code(),
    )
    if result.fd is not None:
        result.fd.close()
        return True, ""
    if not result.log:
        return None, f"errno {result.errno}"
    return not any(text in result.log for text in REFUSALS), result.log.strip().splitlines()[-1]


def differences(ask: BtfAsk, counts: Counter[str]) -> Iterator[str]:
    for kind, attach, sleepable in CASES:
        for number, name in HELPERS.items():
            if name == "override_return" and attach is AttachType.TRACE_KPROBE_MULTI:
                continue
            found, log = offered(number, kind, attach, sleepable)
            if found is None:
                counts["not loadable"] += 1
                continue
            ruling = helpers.callable_from(number, kind, attach, sleepable, ask)
            counts[ruling.allowed] += 1
            if ruling.assumes and not found:
                counts["not told whether locked down"] += 1  # securityfs is not mounted here
                continue
            if ruling.allowed is Allowed.UNKNOWN or (ruling.allowed is Allowed.YES) != found:
                where = f"{kind.name} {attach and attach.name} {name}"
                yield f"{where}: {ruling.allowed} ({ruling.why}), kernel: {found} {log}"


def test_no_ruling_contradicts_the_kernel(ask: BtfAsk) -> None:
    counts: Counter[str] = Counter()
    wrong = list(differences(ask, counts))
    print(f"helpers tried: {dict(counts)}")
    assert counts[Allowed.YES] > 1500 and counts[Allowed.NO] > 1500, counts
    assert not wrong, "\n".join(wrong[:40])


def test_the_running_kernel_has_no_helper_beyond_the_table(ask: BtfAsk) -> None:
    assert Path("/sys/kernel/btf/vmlinux").exists()
    beyond, _ = offered(max(HELPERS) + 1, ProgramType.SOCKET_FILTER, None, False)
    assert beyond is False
