# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.btfwriter import BtfWriter

from holdfast.btf.cformat import declaration, type_name
from holdfast.btf.types import Kind


def test_declarators() -> None:
    w = BtfWriter()
    number, char = w.integer(), w.integer("char", 1)
    task, fwd = w.struct("task_struct", 8), w.fwd("u", union=True)
    proto = w.proto(number, ("p", w.ptr(0)), ("", char))
    empty = w.proto(0)
    cases = {
        0: "void",
        number: "int",
        w.ptr(task): "struct task_struct *",
        w.ptr(w.const(task)): "const struct task_struct *",
        w.const(w.ptr(task)): "struct task_struct *const",
        w.ptr(w.const(w.ptr(0))): "void *const *",
        w.array(char, 16): "char[16]",
        w.array(w.array(number, 3), 2): "int[2][3]",
        w.array(w.ptr(number), 2): "int *[2]",
        w.ptr(w.array(number, 2)): "int (*)[2]",
        w.array(number, 0): "int[]",
        w.ptr(proto): "int (*)(void *p, char)",
        w.ptr(empty): "void (*)(void)",
        w.array(w.ptr(empty), 4): "void (*[4])(void)",
        w.ptr(fwd): "union u *",
        w.typedef("u64", number): "u64",
        w.enum("e"): "enum e",
        w.struct("", 0): "struct {...}",
        w.ptr(w.modifier(Kind.TYPE_TAG, task, "rcu")): "__rcu struct task_struct *",
        w.ptr(
            w.modifier(Kind.TYPE_TAG, number, "address_space(1)")
        ): "__attribute__((address_space(1))) int *",
        w.modifier(Kind.VOLATILE, w.const(number)): "const volatile int",
    }
    btf = w.btf()
    assert {type_id: type_name(btf, type_id) for type_id in cases} == cases


def test_functions_and_variables() -> None:
    w = BtfWriter()
    number, u64 = w.integer(), w.typedef("u64", w.integer("long", 8))
    params = (
        ("s", w.ptr(w.struct("__sk_buff", 8))),
        ("flags", u64),
        ("ptr__uninit", w.ptr(w.struct("bpf_dynptr", 16))),
    )
    function = w.func("bpf_dynptr_from_skb", w.proto(number, *params))
    returns_pointer = w.func("f", w.proto(w.ptr(0), ("fmt", number), ("", 0)))
    variable = w.var("table", w.array(w.ptr(w.proto(0)), 2))
    btf = w.btf()
    assert declaration(btf, function) == (
        "int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit)"
    )
    assert declaration(btf, returns_pointer) == "void *f(int fmt, ...)"
    assert declaration(btf, variable) == "void (*table[2])(void)"
    assert declaration(btf, number) == "int"


def test_types_of_themselves_end_in_dots() -> None:
    w = BtfWriter()
    w.ptr(1)
    w.proto(0, ("self", 2), ("again", 2))
    btf = w.btf()
    assert type_name(btf, 1).startswith("... *")
    assert len(type_name(btf, 2)) < 2000
    assert "..." in type_name(btf, 2)
