# SPDX-License-Identifier: Apache-2.0
"""From libbpf's words to one line that says what to do."""

from __future__ import annotations

import errno

import pytest

from holdfast import sys as kernel
from holdfast.errors import LibbpfError, LoadError, PrivilegeError, VerifierError
from holdfast.libbpf import Messages
from holdfast.load import failure
from holdfast.terms import ProgramType

LOG = (
    "0: (61) r0 = *(u32 *)(r1 +500)\ninvalid bpf_context access off=500 size=4\nprocessed 1 insns (limit 9)\n"
)


def said(*warnings: str) -> Messages:
    messages = Messages()
    for text in warnings:
        messages.add(0, f"libbpf: {text}\n")
    return messages


def rejected(log: str) -> Messages:
    return said(
        "prog 'steer': BPF program load failed: -EACCES",
        f"prog 'steer': -- BEGIN PROG LOAD LOG --\n{log}-- END PROG LOAD LOG --",
        "prog 'steer': failed to load: -EACCES",
        "failed to load object 'x.o'",
    )


@pytest.fixture
def privileged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "missing", lambda wanted: frozenset())
    monkeypatch.setattr(kernel, "in_initial_user_namespace", lambda: True)
    monkeypatch.setattr(kernel, "lockdown", lambda: None)


@pytest.mark.usefixtures("privileged")
def test_a_verifier_log_makes_a_verifier_error() -> None:
    error = failure.load_failure("x.o", errno.EACCES, rejected(LOG), {"steer": ProgramType.SCHED_CLS})
    assert isinstance(error, VerifierError)
    assert "'steer'" in str(error)
    assert "invalid bpf_context access off=500 size=4" in str(error)
    assert (error.errno, error.log) == (errno.EACCES, LOG)
    assert error.hint is None


@pytest.mark.usefixtures("privileged")
def test_the_cause_is_quoted_and_not_its_echoes() -> None:
    words = said(
        "prog 'p': failed to find kernel BTF type ID of 'f': -ESRCH",
        "prog 'p': failed to prepare load attributes: -ESRCH",
        "prog 'p': failed to load: -ESRCH",
        "failed to load object 'x.o'",
    )
    error = failure.load_failure("x.o", errno.ESRCH, words, {"p": ProgramType.TRACING})
    assert type(error) is LoadError
    assert str(error) == "x.o: prog 'p': failed to find kernel BTF type ID of 'f': -ESRCH"
    assert "failed to load object" in error.log


BTF_LOG = (
    "-- BEGIN BTF LOAD LOG ---\nmagic: 0xeb9f\n[8] FUNC x-y type_id=7 Invalid name\n\n-- END BTF LOAD LOG --"
)


@pytest.mark.usefixtures("privileged")
def test_btf_that_libbpf_did_without_is_not_the_cause() -> None:
    words = said(
        "BTF loading error: -EINVAL",
        BTF_LOG,
        "Error loading .BTF into kernel: -EINVAL. BTF is optional, ignoring.",
        "prog 'x-y': BPF program load failed: -EINVAL",
        "prog 'x-y': failed to load: -EINVAL",
        "failed to load object 'x.o'",
    )
    error = failure.load_failure("x.o", errno.EINVAL, words, {"x-y": ProgramType.XDP})
    assert str(error) == "x.o: prog 'x-y': BPF program load failed: -EINVAL"


@pytest.mark.usefixtures("privileged")
def test_btf_that_is_refused_is_told_with_the_type_at_fault() -> None:
    words = said(
        "BTF loading error: -EINVAL",
        BTF_LOG,
        "Error loading .BTF into kernel: -EINVAL. BTF is mandatory, can't proceed.",
        "failed to load object 'x.o'",
    )
    error = failure.load_failure("x.o", errno.EINVAL, words, {"p": ProgramType.XDP})
    assert str(error).startswith("x.o: Error loading .BTF into kernel: -EINVAL. BTF is mandatory")
    assert "[8] FUNC x-y type_id=7 Invalid name" in str(error) and "magic" not in str(error)


@pytest.mark.usefixtures("privileged")
def test_silence_still_names_the_errno() -> None:
    error = failure.load_failure("x.o", errno.EINVAL, said(), {})
    assert str(error) == "x.o: libbpf gave no reason [EINVAL]"


def test_eperm_without_a_log_names_missing_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "missing", lambda wanted: wanted)
    words = said("prog 'steer': BPF program load failed: -EPERM")
    error = failure.load_failure(
        "x.o", errno.EPERM, words, {"steer": ProgramType.XDP, "other": ProgramType.KPROBE}
    )
    assert isinstance(error, PrivilegeError)
    assert "CAP_BPF, CAP_NET_ADMIN" in str(error)
    assert "CAP_PERFMON" not in str(error)
    assert error.hint is not None
    assert "cap_bpf,cap_net_admin+ep" in error.hint


@pytest.mark.usefixtures("privileged")
def test_eperm_with_all_capabilities_names_the_next_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no capability is missing" in str(failure.not_permitted("loading", {"CAP_BPF"}))
    monkeypatch.setattr(kernel, "lockdown", lambda: kernel.Lockdown.INTEGRITY)
    assert "locked down (integrity)" in str(failure.not_permitted("loading", {"CAP_BPF"}))
    monkeypatch.setattr(kernel, "in_initial_user_namespace", lambda: False)
    assert "user namespace" in str(failure.not_permitted("loading", {"CAP_BPF"}))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (ProgramType.SOCKET_FILTER, {"CAP_BPF"}),
        (ProgramType.CGROUP_SKB, {"CAP_BPF"}),
        (ProgramType.XDP, {"CAP_BPF", "CAP_NET_ADMIN"}),
        (ProgramType.STRUCT_OPS, {"CAP_BPF", "CAP_PERFMON"}),
        (ProgramType.EXT, {"CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"}),
    ],
)
def test_capabilities_to_load(kind: ProgramType, wanted: set[str]) -> None:
    assert failure.capabilities_to_load(kind) == wanted


@pytest.mark.usefixtures("privileged")
def test_failed_call_keeps_the_errno_and_hints() -> None:
    error = failure.failed_call("map 'm': update", OSError(errno.E2BIG, "bpf(X): Argument list too long"))
    assert isinstance(error, LibbpfError)
    assert str(error) == "map 'm': update failed: E2BIG (Argument list too long)"
    assert error.hint


@pytest.mark.usefixtures("privileged")
def test_a_silent_libbpf_still_gives_the_verifiers_words() -> None:
    types = {"steer": ProgramType.SCHED_CLS}
    error = failure.load_failure("x.o", errno.EACCES, said(), types, kernel_log=LOG)
    assert isinstance(error, VerifierError)
    assert "'steer'" in str(error)
    btf = failure.load_failure("x.o", errno.EINVAL, said(), types, kernel_log="magic: 0xeb9f\nInvalid name\n")
    assert type(btf) is LoadError
