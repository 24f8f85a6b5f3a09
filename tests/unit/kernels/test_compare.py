# SPDX-License-Identifier: Apache-2.0
"""What a kernel did against what its image says: only contradictions are told."""

from __future__ import annotations

import pytest
from tests.unit.kernels.test_facts import kernel

from holdfast.kernels import HelperUse, KernelFacts, KfuncUse, ProbeFacts, Registration
from holdfast.kernels.compare import compare, same_build
from holdfast.terms import AttachType, Evidence, MapType, ProgramType

XDP, TRACING, SYSCALL = ProgramType.XDP, ProgramType.TRACING, ProgramType.SYSCALL
BOTH = (Evidence.BTF_IDS, Evidence.INIT_CODE)


def registered(
    *types: ProgramType, flags: tuple[str, ...] = (), narrowed: bool = False, module: str | None = None
) -> KernelFacts:
    row = Registration(frozenset(flags), frozenset(types), narrowed, BOTH, module)
    return kernel(registrations={"bpf_good": row})


def told(facts: KernelFacts, probes: ProbeFacts) -> list[tuple[str, str, ProgramType | None, bool, bool]]:
    return [(one.what, one.name, one.program_type, one.image, one.kernel) for one in compare(facts, probes)]


def test_types() -> None:
    probes = ProbeFacts(
        program_types={XDP: True, ProgramType.PERF_EVENT: True, TRACING: None},
        map_types={MapType.HASH: False, MapType.STACK_TRACE: False},
        attach_types={AttachType.XDP: False, AttachType.TCX_INGRESS: True},
        link_types={"TCX": False, "NETKIT": True},
    )
    config = {"CONFIG_BPF_SYSCALL": "y", "CONFIG_NET": "y"}
    assert told(kernel(config=config), probes) == [
        ("program_type", "PERF_EVENT", None, False, True),
        ("map_type", "HASH", None, True, False),
        # The config has no CONFIG_PERF_EVENTS either, so that STACK_TRACE is refused is no surprise.
        ("attach_type", "TCX_INGRESS", None, False, True),
        ("link_type", "NETKIT", None, False, True),
    ]


def test_helpers() -> None:
    probes = ProbeFacts(helpers={HelperUse(1, XDP): False, HelperUse(2, XDP): True, HelperUse(3, XDP): None})
    assert told(kernel(), probes) == [("helper", "2", XDP, False, True)]


@pytest.mark.parametrize(
    ("facts", "types", "contradictions"),
    [
        (registered(XDP), {XDP: True, TRACING: False, SYSCALL: None}, []),
        (registered(XDP), {XDP: None, TRACING: None}, []),
        (registered(XDP), {XDP: True, TRACING: True}, [(TRACING, False, True)]),
        (registered(XDP), {XDP: False}, [(XDP, True, False)]),
        (registered(XDP, narrowed=True), {XDP: False}, []),
        (registered(XDP, narrowed=True), {TRACING: True}, [(TRACING, False, True)]),
        # Its module is not loaded: the function that was found is another.
        (registered(XDP, module="far"), {XDP: False, TRACING: True}, []),
        # Without registrations, tags: bpf_good has one.
        (kernel(), {XDP: False, TRACING: False}, [(None, True, False)]),
        (kernel(), {XDP: False, TRACING: None}, []),
        (kernel(), {XDP: True, TRACING: False}, []),
        (kernel(registrations={}), {XDP: True}, []),
    ],
)
def test_kfuncs(
    facts: KernelFacts,
    types: dict[ProgramType, bool | None],
    contradictions: list[tuple[ProgramType | None, bool, bool]],
) -> None:
    probes = ProbeFacts(kfuncs={KfuncUse("bpf_good", kind): value for kind, value in types.items()})
    found = told(facts, probes)
    assert found == [("kfunc", "bpf_good", *one) for one in contradictions]


def test_a_function_that_is_no_kfunc_and_can_be_called() -> None:
    facts = kernel(registrations={})
    assert told(facts, ProbeFacts(kfuncs={KfuncUse("plain", XDP): True})) == [
        ("kfunc", "plain", None, False, True)
    ]


@pytest.mark.parametrize(
    ("flags", "awake", "contradicts"),
    [(("SLEEPABLE",), True, True), (("SLEEPABLE",), False, False), ((), False, True), ((), True, False)],
)
def test_sleepable(flags: tuple[str, ...], awake: bool, contradicts: bool) -> None:
    probes = ProbeFacts(
        kfuncs={KfuncUse("bpf_good", XDP): True, KfuncUse("bpf_good", XDP, None, False): awake}
    )
    assert bool(told(registered(XDP, flags=flags), probes)) is contradicts


def test_its_own_probes_are_not_asked() -> None:
    probes = ProbeFacts({XDP: False})
    facts = kernel(config={"CONFIG_BPF_SYSCALL": "y", "CONFIG_NET": "y"}).with_probes(probes)
    assert told(facts, probes) == [("program_type", "XDP", None, True, False)]


def test_the_same_build_has_the_same_btf() -> None:
    running, known = kernel(), registered(XDP)
    assert same_build(running, [kernel(), known]).registrations is known.registrations
    other = registered(XDP)
    assert other.vmlinux is not None
    other.vmlinux.data = bytes(other.vmlinux.data) + b"\0"
    assert same_build(running, [other]).registrations is None
