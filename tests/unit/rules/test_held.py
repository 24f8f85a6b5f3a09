# SPDX-License-Identifier: Apache-2.0
"""What may be done under a lock, with null, and what struct_ops programs may write to, by release."""

from __future__ import annotations

import pytest
from tests.unit.rules.era import Era

from holdfast.rules import held, ops_writes, program_types
from holdfast.rules.ask import Allowed, Sign
from holdfast.terms import AttachType, ProgramType


def test_own_functions_under_a_lock_since_6_9() -> None:
    assert held.call_while_locked(None, Era(6, 8)).allowed is Allowed.NO
    assert held.call_while_locked(None, Era(6, 9)).allowed is Allowed.YES
    assert held.call_while_locked(5, Era(7, 3)).allowed is Allowed.NO
    assert held.call_while_locked(94, Era(5, 10)).allowed is Allowed.YES


def test_null_is_refused_by_flag_and_since_7_1_by_all() -> None:
    trusted, plain = frozenset({"TRUSTED_ARGS"}), frozenset[str]()
    assert [held.takes_no_null(trusted, Era(*r)) for r in ((6, 1), (6, 12), (7, 1))] == [False, True, True]
    assert [held.takes_no_null(plain, Era(*r)) for r in ((6, 12), (6, 18), (7, 1))] == [False, False, True]


def members(ops: str, struct: str, *release: int) -> set[str]:
    return {name for _, name in ops_writes.writable(ops, struct, Era(*release))}


def test_members_that_congestion_control_may_write_to_grew() -> None:
    old, new = (
        members("tcp_congestion_ops", "tcp_sock", 5, 10),
        members("tcp_congestion_ops", "tcp_sock", 6, 12),
    )
    assert "sk_pacing_rate" not in old
    assert {"sk_pacing_rate", "snd_cwnd", "app_limited"} <= new
    assert members("tcp_congestion_ops", "inet_sock", 6, 12) == set()


@pytest.mark.parametrize(
    ("attach", "release", "limits"),
    [
        (AttachType.CGROUP_INET4_BIND, (5, 10), (0, 1)),
        (AttachType.CGROUP_INET4_BIND, (5, 12), (0, 3)),
        (AttachType.CGROUP_UDP4_RECVMSG, (5, 10), (1, 1)),
        (AttachType.CGROUP_INET4_CONNECT, (7, 3), (0, 1)),
    ],
)
def test_what_programs_at_sockets_may_return(
    attach: AttachType, release: tuple[int, int], limits: tuple[int, int]
) -> None:
    assert program_types.return_range(ProgramType.CGROUP_SOCK_ADDR, attach, Era(*release)) == limits


def test_sessions_are_looked_at_where_the_kernel_knows_them() -> None:
    session = Sign.value("bpf_attach_type", "BPF_TRACE_UPROBE_SESSION")
    kind = (ProgramType.KPROBE, AttachType.TRACE_UPROBE_SESSION)
    assert program_types.return_range(*kind, Era(6, 13, extra=(session,))) == (0, 1)
    assert program_types.return_range(*kind, Era(6, 12)) is None


def test_an_attach_type_of_reuseport_is_looked_at_where_there_is_one() -> None:
    class Old(Era):
        def btf(self, sign: Sign) -> bool | None:
            return False if sign.name == "BPF_SK_REUSEPORT_SELECT" else super().btf(sign)

    kind = (ProgramType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT)
    assert program_types.attach_type_accepted(*kind, Old(5, 10)).allowed is Allowed.YES
