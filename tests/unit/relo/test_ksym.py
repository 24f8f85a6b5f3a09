# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.relo.cases import target_of

from holdfast.btf.types import Kind
from holdfast.errors import BtfError
from holdfast.relo import KsymKind, Target, find_ksym, resolve_ksym


def kfunc(writer: BtfWriter, name: str, *, arguments: int = 1) -> int:
    number = writer.integer()
    pointer = writer.ptr(writer.struct("sk_buff", 8))
    return writer.func(name, writer.proto(number, *[("skb", pointer)] * arguments))


def test_a_function_of_vmlinux() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    extern, there = kfunc(local, "bpf_f"), kfunc(kernel, "bpf_f")
    result = resolve_ksym(local.btf(), extern, weak=False, target=target_of(kernel))
    assert (result.kind, result.found, result.where, result.type_id) == (
        KsymKind.FUNC,
        True,
        "vmlinux",
        there,
    )
    assert result.expected == result.actual == "int bpf_f(struct sk_buff *skb)"
    assert not result.absent


def test_a_function_of_a_module_comes_after_vmlinux() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    extern = kfunc(local, "bpf_f")
    kernel.integer()
    vmlinux = kernel.btf("vmlinux")
    modules = {}
    for name in ("one", "two"):
        writer = BtfWriter(base=vmlinux)
        kfunc(writer, "bpf_f")
        modules[name] = writer.btf(name)
    assert resolve_ksym(local.btf(), extern, weak=False, target=Target(vmlinux, modules)).where == "one"
    kfunc(kernel, "bpf_f")
    assert resolve_ksym(local.btf(), extern, weak=False, target=target_of(kernel, {})).where == "vmlinux"


def test_a_missing_function_is_absent_if_weak_and_an_error_if_not() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    extern = kfunc(local, "bpf_f")
    weak = resolve_ksym(local.btf(), extern, weak=True, target=target_of(kernel))
    assert weak.absent
    assert weak.reason == "no function bpf_f in vmlinux"
    strong = resolve_ksym(local.btf(), extern, weak=False, target=target_of(kernel))
    assert strong.error
    assert strong.error.errno == errno.EINVAL
    assert strong.error.message == "extern (func ksym) 'bpf_f': not found in kernel or module BTFs"


def test_an_incompatible_function_is_absent_if_weak_and_an_error_if_not() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    extern, there = kfunc(local, "bpf_f"), kfunc(kernel, "bpf_f", arguments=2)
    weak = resolve_ksym(local.btf(), extern, weak=True, target=target_of(kernel))
    assert weak.absent
    assert weak.type_id == there
    assert weak.reason == (
        "the kernel's int bpf_f(struct sk_buff *skb, struct sk_buff *skb) is incompatible with "
        "int bpf_f(struct sk_buff *skb)"
    )
    strong = resolve_ksym(local.btf(), extern, weak=False, target=target_of(kernel))
    assert strong.error
    assert strong.error.message == (
        f"extern (func ksym) 'bpf_f': func_proto [{extern - 1}] incompatible with vmlinux [{there - 1}]"
    )


def test_a_flavor_is_taken_off_in_the_object_only() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    extern = kfunc(local, "bpf_f___old")
    kfunc(kernel, "bpf_f")
    assert resolve_ksym(local.btf(), extern, weak=True, target=target_of(kernel)).found
    assert not resolve_ksym(
        local.btf(), extern, weak=True, target=target_of(kernel), strip_flavor=False
    ).found
    local, kernel = BtfWriter(), BtfWriter()
    extern = kfunc(local, "bpf_f")
    kfunc(kernel, "bpf_f___v2")
    assert not resolve_ksym(local.btf(), extern, weak=True, target=target_of(kernel)).found


def test_a_variable_of_that_name_is_no_function() -> None:
    kernel = BtfWriter()
    kernel.var("x", kernel.integer())
    assert find_ksym(target_of(kernel), "x", Kind.FUNC) is None
    assert find_ksym(target_of(kernel), "x", Kind.VAR)


def test_a_typed_variable() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    extern = local.var("runqueues", local.const(local.struct("rq", 8)), 2)
    there = kernel.var("runqueues", kernel.struct("rq", 80))
    result = resolve_ksym(local.btf(), extern, weak=False, target=target_of(kernel))
    assert (result.kind, result.found, result.type_id) == (KsymKind.VAR, True, there)


@pytest.mark.parametrize("weak", [False, True])
def test_a_variable_of_the_wrong_type_is_an_error_even_if_weak(weak: bool) -> None:
    local, kernel = BtfWriter(), BtfWriter()
    mine = local.integer()
    extern = local.var("x", mine, 2)
    theirs = kernel.struct("x_t", 8)
    kernel.var("x", theirs)
    result = resolve_ksym(local.btf(), extern, weak=weak, target=target_of(kernel))
    assert result.error
    assert result.error.message == (
        f"extern (var ksym) 'x': incompatible types, expected [{mine}] int int, but kernel has "
        f"[{theirs}] struct x_t"
    )


def test_a_missing_variable() -> None:
    local, kernel = BtfWriter(), BtfWriter()
    extern = local.var("x", local.integer(), 2)
    assert resolve_ksym(local.btf(), extern, weak=True, target=target_of(kernel)).absent
    strong = resolve_ksym(local.btf(), extern, weak=False, target=target_of(kernel))
    assert strong.error
    assert strong.error.message == "extern (var ksym) 'x': not found in kernel BTF"


@pytest.mark.parametrize(
    ("addresses", "weak", "found", "number"),
    [
        ((0x10,), False, True, 0),
        ((0x10, 0x10), False, True, 0),
        ((), True, False, 0),
        ((), False, False, errno.ESRCH),
        ((0x10, 0x20), True, False, errno.EINVAL),
        (None, False, None, 0),
    ],
)
def test_an_untyped_variable(
    addresses: tuple[int, ...] | None, weak: bool, found: bool | None, number: int
) -> None:
    local = BtfWriter()
    extern = local.var("init_task___x", local.const(0), 2)
    asked = []

    def kallsyms(name: str) -> tuple[int, ...] | None:
        asked.append(name)
        return addresses

    result = resolve_ksym(local.btf(), extern, weak=weak, target=target_of(BtfWriter()), kallsyms=kallsyms)
    assert asked == ["init_task___x"]
    assert (result.kind, result.found) == (KsymKind.UNTYPED, found)
    assert (result.error.errno if result.error else 0) == number


def test_what_is_no_extern() -> None:
    local = BtfWriter()
    type_id = local.integer()
    with pytest.raises(BtfError, match="neither a func nor a var"):
        resolve_ksym(local.btf(), type_id, weak=True, target=target_of(BtfWriter()))
