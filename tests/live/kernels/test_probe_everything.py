# SPDX-License-Identifier: Apache-2.0
"""The running kernel asked for everything: the same as asked one by one, and nothing stays."""

from __future__ import annotations

import functools
import json
import resource
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast import sys as kernel_doors
from holdfast.cli.kernels_probe import command
from holdfast.errors import PrivilegeError, UsageError
from holdfast.kernels import KernelFacts, KfuncUse, ProbeFacts, Wanted, exported, live, live_files
from holdfast.kernels import probe as probing
from holdfast.kernels.answer_table import AnswerTable
from holdfast.kernels.cache import Cache
from holdfast.kernels.compare import compare
from holdfast.kernels.probe import Part, Step, discover
from holdfast.kernels.probe.calls import Prober
from holdfast.kernels.probe.contexts import Context
from holdfast.kernels.probe.programs import RETURN_0
from holdfast.terms import AttachType, ProgramType

pytestmark = pytest.mark.live

SOME_KFUNCS = ("bpf_dynptr_slice", "bpf_lookup_user_key", "bpf_sock_destroy", "vfs_read", "holdfast_no_such")
TYPES = (Part.PROGRAM_TYPES, Part.MAP_TYPES, Part.ATTACH_TYPES, Part.LINK_TYPES, Part.INSTRUCTIONS)


@functools.cache
def running_kernel() -> KernelFacts:
    return live.facts(cache=Cache(None))


@functools.cache
def types() -> ProbeFacts:
    return probing.everything(running_kernel(), only=TYPES)


@functools.cache
def some_kfuncs() -> ProbeFacts:
    return probing.everything(running_kernel(), only=[Part.KFUNCS], kfuncs=SOME_KFUNCS)


def test_types_are_those_that_are_asked_one_by_one() -> None:
    singly = probing.probe(
        probing.all_types() | probing.all_features(), running_kernel().vmlinux, running_kernel().modules
    )
    assert types().program_types == singly.program_types
    assert types().map_types == singly.map_types
    assert types().insn_features == singly.insn_features
    assert types().program_types[ProgramType.SOCKET_FILTER] is True


def test_attach_types_do_not_contradict_the_kernels_own_list() -> None:
    facts = running_kernel()
    found = types().attach_types
    assert len(found) == len(AttachType)
    assert [one for one, value in found.items() if value] != []
    for one, value in found.items():
        if facts.attach_type(one).value is False:
            assert value is not True, one
    # Compiled in with sockets and control groups, and asked in three ways: query, attach, link.
    if facts.config_enabled("CONFIG_CGROUP_BPF").value:
        assert found[AttachType.CGROUP_INET_INGRESS] is True
        assert types().link_types["CGROUP"] is True
    if facts.config_enabled("CONFIG_INET").value:
        assert found[AttachType.SK_MSG_VERDICT] is True
        assert found[AttachType.SK_LOOKUP] is True
        assert types().link_types["NETNS"] is True


@pytest.mark.parametrize(
    ("option", "attach_types"),
    [
        ("CONFIG_NETKIT", (AttachType.NETKIT_PRIMARY, AttachType.NETKIT_PEER)),
        ("CONFIG_FPROBE", (AttachType.TRACE_KPROBE_MULTI,)),
        ("CONFIG_BPF_LIRC_MODE2", (AttachType.LIRC_MODE2,)),
        ("CONFIG_NETFILTER_BPF_LINK", (AttachType.NETFILTER,)),
    ],
)
def test_what_is_compiled_out_cannot_be_attached(option: str, attach_types: tuple[AttachType, ...]) -> None:
    enabled = running_kernel().config_enabled(option).value
    if enabled is None:
        pytest.skip("this kernel's config is not known")
    known = [one for one in attach_types if running_kernel().attach_type(one).value]
    assert [types().attach_types[one] for one in known] == [enabled] * len(known)


def test_an_attach_type_that_nobody_knows_is_not_there() -> None:
    facts = running_kernel()
    with Prober(facts.vmlinux, facts.modules) as prober:
        (context,) = prober.contexts(ProgramType.TRACING, AttachType.TRACE_RAW_TP)
        assert prober.loads(context) is True
        assert prober.loads(Context(context.program_type, 0x7FF1, target=context.target)) is False
        assert prober.loads(Context(0x7FF1)) is False


def test_kfuncs_are_answered_for_each_way_to_load() -> None:
    found = some_kfuncs().kfuncs
    assert isinstance(found, AnswerTable)
    if running_kernel().has_func("bpf_dynptr_slice").value:
        assert found[KfuncUse("bpf_dynptr_slice", ProgramType.XDP)] is True
        assert found[KfuncUse("bpf_dynptr_slice", ProgramType.XDP, None, False)] is True
    assert {found[use] for use in found if use.name == "vfs_read"} <= {False, None}
    assert found[KfuncUse("vfs_read", ProgramType.XDP)] is False
    # One that is not there may come with a module.
    assert "holdfast_no_such" not in found.rows
    if running_kernel().has_func("bpf_lookup_user_key").value:
        sleeps = functools.partial(
            KfuncUse, "bpf_lookup_user_key", ProgramType.TRACING, AttachType.TRACE_ITER
        )
        assert found[sleeps(None)] is True
        assert found[sleeps(True)] is True
        assert found[sleeps(False)] is False
    if running_kernel().has_func("bpf_sock_destroy").value:
        assert found[KfuncUse("bpf_sock_destroy", ProgramType.TRACING, AttachType.TRACE_RAW_TP)] is False
        assert found[KfuncUse("bpf_sock_destroy", ProgramType.TRACING, AttachType.TRACE_ITER)] is True


def test_kfuncs_are_those_that_are_asked_one_by_one() -> None:
    found = some_kfuncs().kfuncs
    uses = [use for use in found if use.program_type in (ProgramType.KPROBE, ProgramType.STRUCT_OPS)]
    singly = probing.probe(Wanted(kfuncs=frozenset(uses)), running_kernel().vmlinux, running_kernel().modules)
    assert {use: found[use] for use in uses} == singly.kfuncs


def test_kfuncs_are_found_without_tags() -> None:
    facts = running_kernel()
    with Prober(facts.vmlinux, facts.modules) as prober:
        names = discover.candidates(prober)
        missing = [name for name in facts.kfunc_names() if name not in names]
        assert missing == []
        for name, answer in (
            ("bpf_dynptr_slice", True),
            ("bpf_cpumask_create", True),
            ("bpf_prog_load", False),
            ("bpf_xdp_link_attach", False),
        ):
            if facts.has_func(name).value:
                assert discover.is_kfunc(prober, name) is answer, name


def test_nothing_contradicts_the_btf() -> None:
    facts = running_kernel()
    assert list(compare(facts, types() | some_kfuncs())) == []


def test_progress_is_told_and_bounded() -> None:
    steps: list[Step] = []
    probing.everything(running_kernel(), steps.append, only=[Part.KFUNCS], kfuncs=SOME_KFUNCS)
    assert [(one.done, one.total) for one in steps] == [
        (done, len(SOME_KFUNCS)) for done in range(1, len(SOME_KFUNCS) + 1)
    ]


def test_a_process_that_lacks_capabilities_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_doors, "missing", lambda wanted: wanted & {"CAP_PERFMON"})
    found = probing.everything(running_kernel())
    assert "CAP_PERFMON" in found.obstacle
    assert not found.decided
    with pytest.raises(PrivilegeError, match="CAP_PERFMON"):
        CliRunner().invoke(command, [], standalone_mode=False, catch_exceptions=False)


def test_the_limit_of_locked_memory_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    old = KernelFacts("test/5.10", "5.10", "", "test", None)  # which knows no helper of 5.11
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    seen = []
    real = kernel_doors.prog_load

    def prog_load(*arguments: Any, **more: Any) -> kernel_doors.RawLoad:
        seen.append(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
        return real(*arguments, **more)

    monkeypatch.setattr(kernel_doors, "prog_load", prog_load)
    probing.everything(old, only=[Part.INSTRUCTIONS])
    raised = resource.RLIM_INFINITY if "CAP_SYS_RESOURCE" in kernel_doors.capabilities() else before[1]
    assert set(seen) == {raised}
    assert resource.getrlimit(resource.RLIMIT_MEMLOCK) == before


def test_the_verb(tmp_path: Path) -> None:
    output = tmp_path / "probe.json"
    only = "program-types,map-types,attach-types,link-types,instructions"
    words = ["--only", only, "--format", "json", "--output", str(output)]
    result = CliRunner().invoke(command, words, standalone_mode=False, catch_exceptions=False)
    assert result.stdout == ""
    found = json.loads(output.read_text())
    assert found["schema_version"] == 1
    assert found["id"] == running_kernel().id
    assert found["program_types"]["SOCKET_FILTER"] is True
    assert found["disagreements"] == []
    assert "kfuncs" not in found
    words = ["--only", only]
    result = CliRunner().invoke(command, words, standalone_mode=False, catch_exceptions=False)
    assert "SOCKET_FILTER" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    for wrong in ("helper", ","):
        with pytest.raises(UsageError):
            CliRunner().invoke(command, ["--only", wrong], standalone_mode=False, catch_exceptions=False)


def test_the_running_kernel_goes_out_and_comes_in() -> None:
    facts = running_kernel().with_probes(some_kfuncs() | types())
    record = exported.read(json.dumps(live_files.export_live(facts)).encode(), "export")
    assert facts.vmlinux is not None
    assert record.vmlinux == bytes(facts.vmlinux.data)
    assert record.config == (None if facts.config is None else dict(facts.config))
    assert record.probes == facts.probes
    assert record.symbols is not None
    assert record.symbols.count("vfs_read\n") >= 1
    assert set(facts.module_names or ()) <= set(record.module_names)


def test_a_program_is_refused_before_it_can_stay() -> None:
    facts = running_kernel()
    with Prober(facts.vmlinux, facts.modules) as prober:
        before = set(kernel_doors.ids("prog"))
        assert prober.loader.load(Context(ProgramType.SOCKET_FILTER), RETURN_0).loaded
        assert set(kernel_doors.ids("prog")) == before
