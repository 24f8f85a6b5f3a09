# SPDX-License-Identifier: Apache-2.0
"""Small kernels for tests of the catalogue: as many kinds of types as BTF has, and some that are alike."""

from __future__ import annotations

from dataclasses import replace

from tests.btfwriter import BtfWriter

from holdfast.btf.types import Kind
from holdfast.kernels import KfuncUse, ProbeFacts
from holdfast.kernels.catalogue.symbols import canonical
from holdfast.kernels.kfuncs import Registration
from holdfast.kernels.record import KernelRecord, PackageOrigin
from holdfast.terms import Evidence, ProgramType

__all__ = ["kept", "kernel", "module", "vmlinux"]


def vmlinux(number: int = 1, functions: int = 20) -> BtfWriter:
    """BTF of a kernel; a higher ``number`` has members, functions and types more than a lower one."""
    btf = BtfWriter()
    int_id = btf.integer()
    char = btf.integer("char", 1)
    double = btf.floating("double", 8)
    task = btf.next_id + 3  # a forward reference, as in kernels
    pointer = btf.ptr(task)
    const = btf.ptr(btf.const(task))
    members = [("pid", int_id, 0), ("parent", pointer, 64), ("comm", btf.next_id + 1, 128)]
    members += [(f"more_{one}", double, 256 + 64 * one) for one in range(number)]
    assert btf.struct("task_struct", 64 + 8 * number, *members) == task
    btf.array(char, 16)
    # two of one name, and two without a name that are alike but for what they lead to
    first = btf.struct("twin", 4, ("a", int_id, 0))
    second = btf.struct("twin", 8, ("b", double, 0))
    twins = [btf.ptr(first), btf.ptr(second)]
    btf.struct("holder", 16, ("one", twins[0], 0), ("two", twins[1], 64))
    btf.union("either", 8, ("i", int_id, 0), ("d", double, 0))
    btf.struct("bits", 4, ("low", int_id, 0, 3), ("high", int_id, 3, 5))
    btf.enum("colour", ("RED", 0), ("BLUE", -1 & 0x7FFFFFFF), signed=True)
    btf.enum64("wide", ("WIDE", 1 << 40))
    btf.fwd("unseen")
    btf.fwd("unseen_union", union=True)
    name = btf.typedef("count_t", int_id)
    btf.modifier(Kind.VOLATILE, name)
    btf.ptr(btf.modifier(Kind.TYPE_TAG, task, "rcu"))
    btf.typedef("flavoured___old", int_id)
    proto = btf.proto(int_id, ("task", pointer), ("again", const))
    bare = btf.proto(0)
    tagged = [btf.func(f"function_{one}", proto if one % 3 else bare) for one in range(functions + number)]
    for one in tagged[:3]:
        btf.decl_tag("bpf_kfunc", one)
    variable = btf.var("percpu", int_id)
    btf.datasec(".data..percpu", 4 * number, (variable, 4 * number, 4))
    return btf


def module(base: BtfWriter, number: int = 1) -> bytes:
    """Split BTF on top of it, with a twin of its own."""
    btf = BtfWriter(base=base.btf())
    btf.offsets.update(base.offsets)  # as pahole does: a string that the base has is not written again
    task = btf.base.find("task_struct") if btf.base else None
    assert task is not None
    own = btf.struct("conn", 16, ("task", btf.ptr(task), 0), ("count", 1, 64))
    twin = btf.struct("twin", 12, ("c", own, 0))
    proto = btf.proto(1, ("conn", btf.ptr(own)), ("twin", btf.ptr(twin)))
    for one in range(number):
        btf.func(f"bpf_conn_{one}", proto)
    return btf.raw()


def kernel(number: int = 1, *, probes: bool = False, name: str = "") -> KernelRecord:
    """A record with something in every field."""
    base = vmlinux(number)
    names = [f"function_{one}" for one in range(20 + number)] + [f"only_{number}", "twice", "twice"]
    lines = [f"T{one}" for one in names] + [f"t__pfx_{one}" for one in names] + ["r__ksymtab_function_1"]
    types = frozenset({ProgramType.XDP, ProgramType.SCHED_CLS})
    evidence = Evidence.BTF_IDS, Evidence.INIT_CODE
    answers = {KfuncUse("function_0", ProgramType.XDP): True, KfuncUse("function_1", ProgramType.XDP): None}
    release = name or f"6.{number}.0-amd64"
    return KernelRecord(
        id=f"debian/{release}",
        release=release,
        arch="x86_64",
        source="debian",
        upstream=f"6.{number}.7",
        vmlinux=base.raw(),
        modules={"conn": module(base, number), "other": module(base)},
        module_names=("conn", "other", "ext4", f"only_in_{number}"),
        builtin_modules=("unix",),
        config={"CONFIG_BPF": "y", "CONFIG_HZ": str(number), "CONFIG_TEXT": "a=b é", "CONFIG_EMPTY": ""},
        symbols="\n" + "".join(f"{line}\n" for line in lines),
        registrations={
            "function_0": Registration(frozenset({"ACQUIRE"}), types, False, evidence),
            "bpf_conn_0": Registration(None, None, True, evidence, "conn", {ProgramType.XDP: frozenset("A")}),
        },
        probes=ProbeFacts(kfuncs=answers, program_types={ProgramType.XDP: True}) if probes else None,
        package=PackageOrigin("linux-image", f"6.{number}.7-1", "debian", "sid", "ab" * 32, "linux", "6"),
    )


def kept(record: KernelRecord) -> KernelRecord:
    """The record as it comes out of a catalogue: of its symbols the names, sorted."""
    return replace(record, symbols=None if record.symbols is None else canonical(record.symbols))
