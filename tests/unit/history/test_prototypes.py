# SPDX-License-Identifier: Apache-2.0
"""What a change of prototype is called, and who is said to notice it."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.history.fakes import Kfunc, Types

from holdfast.btf import Btf
from holdfast.btf.types import Kind
from holdfast.history.change import Effect
from holdfast.history.prototypes import Function, Prototypes, compare, is_implicit, takes_objects


def function(row: Kfunc) -> Function:
    writer = Types()
    writer.kfunc("bpf_foo", row)
    btf = Btf.from_bytes(writer.raw())
    (type_id,) = btf.find_all("bpf_foo", Kind.FUNC)
    return Prototypes().read("bpf_foo", btf, type_id)


def one(name: str, text: str) -> Kfunc:
    return Kfunc([(name, text)])


BREAKS, TIGHTENS, SILENT = Effect.BREAKS, Effect.TIGHTENS, Effect.SILENT
WIDENS, NEUTRAL = Effect.WIDENS, Effect.NEUTRAL

CASES = [
    # as in 6.12 to 7.0: u32 offsets became u64
    (one("offset", "u32"), one("offset", "u64"), SILENT, "64 bits instead of 32"),
    (one("offset", "u64"), one("offset", "u32"), SILENT, "cut to 32 bits from 64"),
    (one("serial", "u32"), one("serial", "s32"), SILENT, "signed now"),
    (one("flags", "s32"), one("flags", "int"), NEUTRAL, "the same integer"),
    # as in 6.8 to 6.12: the program's point of view
    (one("p", "struct bpf_dynptr_kern *"), one("p", "struct bpf_dynptr *"), NEUTRAL, "new name"),
    (one("s", "struct sk_buff *"), one("s", "struct __sk_buff *"), NEUTRAL, "new name"),
    (one("p", "struct bpf_dynptr *"), one("p", "const struct bpf_dynptr *"), NEUTRAL, "take either"),
    (one("p", "struct sock *"), one("p", "struct other *"), TIGHTENS, "the verifier compares the structs"),
    (one("b__opt", "void *"), one("b__nullable", "void *"), NEUTRAL, "both admit NULL"),
    (one("b", "void *"), one("b__nullable", "void *"), WIDENS, "may be NULL now"),
    (one("b__nullable", "void *"), one("b", "void *"), TIGHTENS, "may not be NULL any more"),
    (one("n", "u32"), one("n__szk", "u32"), TIGHTENS, "judges the argument in another way"),
    (one("a", "u32"), one("b", "u32"), NEUTRAL, "is called b"),
    (one("p", "void *"), one("p", "struct sock *"), BREAKS, "libbpf refuses"),
    (one("p", "u64"), one("p", "void *"), BREAKS, "libbpf refuses"),
    (Kfunc(returns="void"), Kfunc(returns="int"), BREAKS, "the result is `int`, not `void`"),
    (Kfunc(returns="u32"), Kfunc(returns="u64"), SILENT, "the result"),
    (Kfunc(), one("ctx", "void *"), BREAKS, "takes 1 parameter, not 0"),
    (
        one("x", "int"),
        Kfunc([("x", "int"), ("aux__prog", "void *")]),
        BREAKS,
        "shows the implicit parameter aux__prog",
    ),
    (
        Kfunc([("x", "int"), ("aux", "const struct bpf_prog_aux *")]),
        one("x", "int"),
        BREAKS,
        "no longer shows the implicit parameter aux",
    ),
]


@pytest.mark.parametrize(("before", "after", "effect", "text"), CASES)
def test_change(before: Kfunc, after: Kfunc, effect: Effect, text: str) -> None:
    (change,) = compare(function(before), function(after))
    assert (change.effect, text in change.what) == (effect, True), change
    assert change.before.startswith(before.returns) and change.after.startswith(after.returns)


def test_each_parameter_is_told() -> None:
    before = Kfunc([("a", "u32"), ("b__opt", "void *"), ("c", "u32")])
    after = Kfunc([("a", "u64"), ("b__nullable", "void *"), ("c", "u64")])
    changes = compare(function(before), function(after))
    assert [change.effect for change in changes] == [SILENT, NEUTRAL, SILENT]


def test_the_same_prototype_in_two_kernels_is_no_change() -> None:
    row = Kfunc([("p", "struct sock *"), ("n", "u32")])
    assert compare(function(row), function(row)) == ()
    assert function(row) == function(row)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ([("sk", "struct sock *")], True),
        ([("s", "struct __sk_buff *")], False),
        ([("p", "struct bpf_dynptr *")], False),
        ([("opts", "struct other *"), ("opts__sz", "u32")], False),
        ([("obj__ign", "struct sock *")], False),
        ([("info", "struct other *")], False),  # numbers alone
        ([("aux", "struct bpf_prog_aux *")], False),
        ([("n", "u32"), ("p", "void *")], False),
        ([("opts", "struct other *"), ("opts__sz", "u32"), ("sk", "const struct sock *")], True),
    ],
)
def test_kernel_objects_are_told_from_memory_and_contexts(
    params: list[tuple[str, str]], expected: bool
) -> None:
    assert takes_objects(function(Kfunc(params))) is expected


def test_implicit_parameters() -> None:
    assert is_implicit("aux", "const struct bpf_prog_aux *")
    assert is_implicit("meta__ign", "void *")
    assert not is_implicit("aux", "struct bpf_prog *")


def test_structs_that_hold_each_the_next_many_times_are_plain_at_once() -> None:
    w = BtfWriter()
    last = w.integer()
    for level in range(4):
        last = w.struct(f"s{level}", 4, *((f"m{at}", last, 0) for at in range(400)))
    found = w.func("f", w.proto(0, ("data", w.ptr(last))))
    assert not takes_objects(Prototypes().read("f", w.btf(), found))
