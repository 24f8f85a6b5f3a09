# SPDX-License-Identifier: Apache-2.0
"""KernelFacts: the strongest evidence answers, and nothing is guessed."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter

from holdfast.btf.types import Kind
from holdfast.kernels import (
    Answer,
    HelperUse,
    KernelFacts,
    KfuncUse,
    ProbeFacts,
    Registration,
)
from holdfast.terms import AttachType, Evidence, MapType, ProgramType

XDP, TRACING, SOCKET_FILTER = ProgramType.XDP, ProgramType.TRACING, ProgramType.SOCKET_FILTER


def kernel_writer(tags: bool = True) -> BtfWriter:
    w = BtfWriter()
    integer = w.integer()
    proto = w.proto(integer, ("x", integer))
    w.enum("bpf_prog_type", ("BPF_PROG_TYPE_UNSPEC", 0), ("BPF_PROG_TYPE_XDP", 6), ("__MAX_BPF_PROG_TYPE", 7))
    w.enum(
        "bpf_map_type", ("BPF_MAP_TYPE_HASH", 1), ("BPF_MAP_TYPE_STACK_TRACE", 7), ("__MAX_BPF_MAP_TYPE", 8)
    )
    w.enum("bpf_attach_type", ("BPF_XDP", 37), ("__MAX_BPF_ATTACH_TYPE", 38))
    w.enum("bpf_link_type", ("BPF_LINK_TYPE_TCX", 11), ("__MAX_BPF_LINK_TYPE", 12))
    w.enum("bpf_func_id", ("BPF_FUNC_unspec", 0), ("BPF_FUNC_map_lookup_elem", 1), ("__BPF_FUNC_MAX_ID", 2))
    for name in ("bpf_good", "bpf_fentry_test1", "plain", "foo_impl", "bpf_iter_task", "bpf_lsm_file_open"):
        func = w.func(name, proto)
        if tags and name in ("bpf_good", "bpf_fentry_test1"):
            w.decl_tag("bpf_kfunc", func)
    w.typedef("btf_trace_sched_switch", integer)
    w.struct("bpf_struct_ops_tcp_congestion_ops", 4, ("x", integer, 0))
    return w


def kernel(**more: object) -> KernelFacts:
    return KernelFacts("test/1", "1", "x86_64", "test", kernel_writer().btf(), **more)  # type: ignore[arg-type]


def test_an_answer_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="three values"):
        bool(Answer(True, Evidence.BTF))


def test_limits_of_an_enumeration_are_no_types() -> None:
    facts = kernel()
    assert facts.program_type_known(XDP).value is True
    assert facts.program_type_known(ProgramType.PERF_EVENT).value is False  # 7, where __MAX stands
    assert facts.helper_known(1).value is True
    assert facts.helper_known(2).value is False
    assert facts.attach_type(AttachType.SK_SKB_VERDICT).value is False
    assert facts.link_type("TCX").value is True
    assert facts.link_type("NETKIT").value is False
    assert facts.helper_name(1) == "map_lookup_elem"
    assert facts.helper_name(2) is None
    assert facts.enum_value("bpf_attach_type", "BPF_XDP") == 37
    assert facts.enum_value("bpf_attach_type", "BPF_NO") is None


def test_without_btf_everything_is_unknown() -> None:
    facts = KernelFacts("test/1", "", "", "test", None)
    for answer in (
        facts.program_type(XDP),
        facts.map_type(MapType.HASH),
        facts.helper_known(1),
        facts.helper(1, XDP),
        facts.kfunc_callable("bpf_good", XDP),
        facts.is_kfunc("bpf_good"),
        facts.tracepoint_btf("sched_switch"),
        facts.has_func("plain"),
        facts.symbol("plain"),
        facts.config_enabled("CONFIG_BPF"),
    ):
        assert answer.value is None
        assert answer.evidence is Evidence.NONE


@pytest.mark.parametrize(
    ("more", "value", "evidence"),
    [
        ({}, None, Evidence.NONE),
        ({"config": {"CONFIG_NET": "y"}}, False, Evidence.CONFIG),  # CONFIG_BPF_SYSCALL itself is off
        ({"config": {"CONFIG_NET": "y", "CONFIG_BPF_SYSCALL": "y"}}, True, Evidence.CONFIG),
        ({"config": {"CONFIG_BPF_SYSCALL": "y"}}, False, Evidence.CONFIG),
        ({"probes": ProbeFacts(program_types={XDP: False})}, False, Evidence.PROBE),
        ({"probes": ProbeFacts(program_types={XDP: None})}, None, Evidence.NONE),
        (
            {"config": {"CONFIG_BPF_SYSCALL": "y"}, "probes": ProbeFacts(program_types={XDP: True})},
            True,
            Evidence.PROBE,
        ),
    ],
)
def test_the_strongest_evidence_says_whether_a_type_is_compiled_in(
    more: dict[str, object], value: bool | None, evidence: Evidence
) -> None:
    answer = kernel(**more).program_type(XDP)
    assert (answer.value, answer.evidence) == (value, evidence)


def test_a_function_of_a_type_is_a_sign_that_it_is_compiled_in() -> None:
    w = kernel_writer()
    w.func("xdp_is_valid_access", w.proto(1))
    facts = KernelFacts("test/1", "1", "x86_64", "test", w.btf(), config={"CONFIG_BPF_SYSCALL": "y"})
    answer = facts.program_type(XDP)
    assert (answer.value, answer.evidence) == (True, Evidence.BTF)


def test_map_types_without_options_are_there_when_known() -> None:
    facts = kernel()
    assert (facts.map_type(MapType.HASH).value, facts.map_type(MapType.HASH).evidence) == (
        True,
        Evidence.RULE,
    )
    assert facts.map_type(MapType.STACK_TRACE).value is None
    assert facts.map_type(MapType.RINGBUF).value is False


def test_a_probe_of_any_attach_type_refuses_for_each_but_admits_for_none() -> None:
    refused = HelperUse(1, TRACING)
    admitted = HelperUse(1, XDP)
    facts = kernel(probes=ProbeFacts(helpers={refused: False, admitted: True}))
    assert facts.helper(1, TRACING).value is False
    assert facts.helper(1, TRACING, AttachType.TRACE_ITER).value is False
    assert facts.helper(1, TRACING, AttachType.TRACE_ITER, sleepable=True).value is False
    assert facts.helper(1, XDP).value is True
    # Some attach type admits it; whether this one does is open.
    assert facts.helper(1, XDP, AttachType.XDP_DEVMAP).value is None
    assert facts.helper(1, SOCKET_FILTER).value is None
    assert facts.helper(9, SOCKET_FILTER).value is False  # not known at all


def test_what_is_a_kfunc() -> None:
    facts = kernel()
    assert facts.is_kfunc("bpf_good").value is True
    assert facts.is_kfunc("plain").value is None  # pahole leaves out the tag of some kfuncs
    assert facts.is_kfunc("absent").value is False
    assert facts.is_kfunc("foo_impl").value is None  # may be left untagged
    assert facts.is_kfunc("bpf_fentry_test1").value is False  # tagged for fmod_ret
    assert facts.kfunc_names() == ["bpf_good"]
    good = facts.kfunc("bpf_good")
    assert good is not None
    assert good.prototype == "int bpf_good(int x)"
    assert (good.is_tagged, good.flags, good.program_types, good.module) == (True, None, None, None)
    assert facts.kfunc("absent") is None


def test_without_tags_btf_cannot_tell_a_kfunc() -> None:
    facts = KernelFacts("test/1", "1", "x86_64", "test", kernel_writer(tags=False).btf())
    good = facts.kfunc("bpf_good")
    assert good is not None
    assert good.is_tagged is None
    assert facts.is_kfunc("bpf_good").value is None
    assert facts.is_kfunc("absent").value is False
    assert facts.kfunc_names() == []


def test_filters_are_told_the_target_of_an_lsm_program() -> None:
    lsm = ProgramType.LSM
    row = Registration(
        frozenset(), frozenset({lsm}), True, (Evidence.INIT_CODE,), filters={lsm: ("bpf_ksock_kfunc_filter",)}
    )
    facts = kernel(registrations={"bpf_good": row})

    def asked(target: str | None) -> bool | None:
        return facts.kfunc_callable("bpf_good", lsm, AttachType.LSM_MAC, True, None, target).value

    assert asked("bpf_lsm_socket_sendmsg") is False
    assert asked("bpf_lsm_file_open") is True
    assert asked(None) is None


def test_a_kfunc_for_no_type_is_none_for_a_replacement() -> None:
    nobody = Registration(frozenset(), frozenset(), False, (Evidence.INIT_CODE,))
    some = Registration(frozenset(), frozenset({XDP}), False, (Evidence.INIT_CODE,))
    facts = kernel(registrations={"bpf_good": nobody, "plain": some})
    assert facts.kfunc_callable("bpf_good", ProgramType.EXT).value is False
    assert facts.kfunc_callable("plain", ProgramType.EXT).value is None


def test_who_may_call_a_kfunc_is_asked_of_the_probe_first() -> None:
    row = Registration(
        frozenset({"ACQUIRE"}), frozenset({XDP, TRACING}), False, (Evidence.BTF_IDS, Evidence.INIT_CODE)
    )
    probes = ProbeFacts(kfuncs={KfuncUse("bpf_good", XDP): False})
    facts = kernel(registrations={"bpf_good": row}, probes=probes)
    assert facts.kfunc_callable("bpf_good", XDP).evidence is Evidence.PROBE
    assert facts.kfunc_callable("bpf_good", XDP).value is False
    assert facts.kfunc_callable("bpf_good", TRACING).value is True
    assert facts.kfunc_callable("bpf_good", SOCKET_FILTER).value is False
    assert facts.kfunc_callable("bpf_good", SOCKET_FILTER).evidence is Evidence.INIT_CODE
    assert facts.kfunc_callable("absent", XDP).value is False
    assert kernel().kfunc_callable("bpf_good", XDP).value is None
    found = facts.kfunc("bpf_good")
    assert found is not None
    assert found.flags == {"ACQUIRE"}
    assert found.program_types == {XDP, TRACING}


def test_a_filter_leaves_the_call_open() -> None:
    row = Registration(None, frozenset({XDP}), True, (Evidence.INIT_CODE,))
    answer = kernel(registrations={"bpf_good": row}).kfunc_callable("bpf_good", XDP)
    assert answer.value is None
    assert "filter" in answer.note


def test_probes_by_attach_type_show_that_a_filter_narrows() -> None:
    probes = ProbeFacts(
        kfuncs={
            KfuncUse("bpf_good", TRACING): True,
            KfuncUse("bpf_good", TRACING, AttachType.TRACE_RAW_TP): False,
            KfuncUse("bpf_good", XDP): None,
        }
    )
    found = kernel().with_probes(probes).kfunc("bpf_good")
    assert found is not None
    assert found.narrowed
    assert found.program_types == {TRACING}
    assert found.undecided == {XDP}


def test_new_probes_replace_what_was_derived_from_old_ones() -> None:
    first = kernel(probes=ProbeFacts(kfuncs={KfuncUse("bpf_good", XDP): False}))
    assert first.is_kfunc("absent").value is False
    assert first.kfunc("bpf_good") is not None
    second = first.with_probes(ProbeFacts(kfuncs={KfuncUse("bpf_good", XDP): True}))
    found = second.kfunc("bpf_good")
    assert found is not None
    assert found.program_types == {XDP}


def test_modules_are_searched_after_vmlinux() -> None:
    base = kernel_writer().btf()
    module = BtfWriter(base=base)
    first = module.func("only_in_module", base.find("plain") or 0)
    module.func("plain", 1)
    module.decl_tag("bpf_kfunc", first)
    facts = KernelFacts(
        "test/1", "1", "x86_64", "test", base, modules={"mod": module.btf()}, module_names=frozenset({"mod"})
    )
    place = facts.function("only_in_module")
    assert place is not None
    assert (place.module, place.where) == ("mod", "mod")
    plain = facts.function("plain")
    assert plain is not None
    assert plain.module is None
    assert facts.kfunc_names() == ["bpf_good", "only_in_module"]
    assert "1 modules" in facts.has_func("absent").note


def test_attach_targets_have_their_marks_in_btf() -> None:
    facts = kernel()
    assert facts.tracepoint_btf("sched_switch").value is True
    assert facts.tracepoint_btf("nope").value is False
    assert facts.iterator("task").value is True
    assert facts.struct_ops_type("tcp_congestion_ops").value is True
    assert facts.struct_ops_type("hid_bpf_ops").value is False
    assert facts.lsm_hook("file_open").value is True
    assert facts.has_type("btf_trace_sched_switch", Kind.STRUCT).value is False


def test_config_and_symbols() -> None:
    facts = kernel(config={"CONFIG_A": "m", "CONFIG_HZ": "250"}, kallsyms={"a": [0], "b": []}.get)
    assert facts.config_enabled("CONFIG_A").value is True
    assert facts.config_enabled("CONFIG_B").value is False
    assert facts.config_value("CONFIG_HZ") == "250"
    assert facts.symbol("a").value is True  # hidden addresses read as 0
    assert facts.symbol("b").value is False
    assert facts.symbol("c").value is None


def test_flags_may_differ_by_program_type() -> None:
    row = Registration(
        frozenset({"ACQUIRE"}),
        frozenset({XDP, TRACING}),
        False,
        (Evidence.BTF_IDS,),
        by_type={TRACING: frozenset({"ACQUIRE", "SLEEPABLE"})},
    )
    facts = kernel(registrations={"bpf_good": row})
    assert facts.kfunc_flags("bpf_good", TRACING) == {"ACQUIRE", "SLEEPABLE"}
    assert facts.kfunc_flags("bpf_good", XDP) == {"ACQUIRE"}
    assert facts.kfunc_flags("absent", XDP) is None


def test_a_module_that_is_not_loaded_registers_nothing() -> None:
    vmlinux = kernel_writer().btf()
    writer = BtfWriter(base=vmlinux)
    writer.func("bpf_ct_good", writer.proto(0))
    row = Registration(frozenset(), frozenset({XDP}), False, (Evidence.INIT_CODE,), module="nf")
    all_in = KernelFacts(
        "test/1", "1", "x86_64", "test", vmlinux, {"nf": writer.btf()}, registrations={"bpf_ct_good": row}
    )
    assert all_in.kfunc_names() == ["bpf_ct_good", "bpf_good"]
    assert all_in.kfunc_callable("bpf_ct_good", XDP).value is True
    without = all_in.with_modules(())
    assert without.kfunc_names() == ["bpf_good"]
    assert without.kfunc("bpf_ct_good") is None
    assert without.kfunc_callable("bpf_ct_good", XDP).value is False
    assert without.unloaded_module_with("bpf_ct_good") == "nf"
    assert without.unloaded_module_with("absent") is None
    assert without.with_modules(["nf"]).kfunc_callable("bpf_ct_good", XDP).value is True
