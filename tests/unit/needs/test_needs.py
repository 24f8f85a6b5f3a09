# SPDX-License-Identifier: Apache-2.0
"""What compiled C requires: each kind of need, where it stands, and what it hangs on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.clang import compile_c

from holdfast.elf import ObjectSpec, open_object
from holdfast.needs import Need, needs_of_object
from holdfast.needs.collect import application_sets
from holdfast.needs.model import (
    AttachTargetNeed,
    CapabilityNeed,
    CoreReloNeed,
    HelperNeed,
    InstructionNeed,
    KconfigNeed,
    KfuncNeed,
    KsymNeed,
    LicenseNeed,
    MapNeed,
    ProgramTypeNeed,
    SizeNeed,
    StructOpsNeed,
    TargetKind,
)
from holdfast.terms import AttachType, ProgramType

Reader = Callable[..., "Needs"]
_N = TypeVar("_N", bound=Need)


class Needs:
    """The needs of an object's programs by name."""

    def __init__(self, spec: ObjectSpec) -> None:
        self.spec = spec
        assert spec.problems == ()
        self.programs = {row.program.name: row.needs for row in needs_of_object(spec).programs}

    def of(self, kind: type[_N], program: str = "prog") -> dict[str, _N]:
        return {need.name: need for need in self.programs[program] if isinstance(need, kind)}

    def one(self, kind: type[_N], program: str = "prog") -> _N:
        (need,) = self.of(kind, program).values()
        return need


@pytest.fixture
def needs(need_tool: Callable[[str], str], tmp_path: Path) -> Reader:
    def read(text: str, **options: object) -> Needs:
        return Needs(open_object(compile_c(need_tool("clang"), text, tmp_path, "test", **options)))  # type: ignore[arg-type]

    return read


KFUNCS = """
struct task_struct;
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_weak(int a) __ksym __weak;
extern int bpf_flavor___two(int a, __u64 b) __ksym __weak;
extern int bpf_flavor___one(int a) __ksym __weak;
extern void bpf_unguarded(void) __ksym __weak;
extern void bpf_nested(void) __ksym __weak;
SEC("tc") int prog(void *ctx) {
    bpf_task_acquire(ctx);
    if (bpf_ksym_exists(bpf_weak)) {
        bpf_weak(bpf_ktime_get_ns());
        if (bpf_ksym_exists(bpf_nested))
            bpf_nested();
    } else {
        bpf_get_prandom_u32();
    }
    if (bpf_ksym_exists(bpf_flavor___two))
        bpf_flavor___two(1, 2);
    else if (bpf_ksym_exists(bpf_flavor___one))
        bpf_flavor___one(1);
    bpf_unguarded();
    return 0;
}
"""


def test_kfuncs_strong_weak_and_guarded(needs: Reader) -> None:
    read = needs(KFUNCS)
    found = {need.spelled: need for need in read.programs["prog"] if isinstance(need, KfuncNeed)}
    assert {name: (need.weak, need.guarded) for name, need in found.items()} == {
        "bpf_task_acquire": (False, False),
        "bpf_weak": (True, True),
        "bpf_flavor___two": (True, True),
        "bpf_flavor___one": (True, True),
        "bpf_unguarded": (True, False),
        "bpf_nested": (True, True),
    }
    assert {name: need.name for name, need in found.items()}["bpf_flavor___two"] == "bpf_flavor"
    assert {name: need.conditions for name, need in found.items()} == {
        "bpf_task_acquire": (),
        "bpf_weak": (),
        "bpf_flavor___two": (),
        "bpf_flavor___one": ("not bpf_flavor___two exists",),
        "bpf_unguarded": (),
        "bpf_nested": ("bpf_weak exists",),
    }
    assert {name: need.source for name, need in found.items()} == {
        "bpf_task_acquire": "test.bpf.c:10",
        "bpf_weak": "test.bpf.c:12",
        "bpf_flavor___two": "test.bpf.c:19",
        "bpf_flavor___one": "test.bpf.c:21",
        "bpf_unguarded": "test.bpf.c:22",
        "bpf_nested": "test.bpf.c:14",
    }
    # clang 14 leaves out the names of an extern function's parameters
    prototype = found["bpf_task_acquire"].prototype
    assert prototype.startswith("struct task_struct *bpf_task_acquire(struct task_struct *")


def test_helpers_hang_on_the_kfunc_that_chooses_them(needs: Reader) -> None:
    helpers = needs(KFUNCS).of(HelperNeed)
    assert {name: (need.conditions, need.source) for name, need in helpers.items()} == {
        "bpf_ktime_get_ns": (("bpf_weak exists",), "test.bpf.c:12"),
        "bpf_get_prandom_u32": (("not bpf_weak exists",), "test.bpf.c:16"),
    }


def test_a_null_check_guards_as_well(needs: Reader) -> None:
    text = """
extern void bpf_weak(int a) __ksym __weak;
extern void bpf_late(int a) __ksym __weak;
static __noinline void maybe(int x) { if (bpf_weak) bpf_weak(x); }
SEC("tc") int prog(void *ctx) { maybe(1); if (!bpf_late) return 1; bpf_late(2); return 0; }
"""
    found = needs(text).of(KfuncNeed)
    assert {name: (need.guarded, need.in_subprogram) for name, need in found.items()} == {
        "bpf_weak": (True, True),
        "bpf_late": (True, False),
    }


def test_one_call_outside_its_guard_is_enough(needs: Reader) -> None:
    text = """
extern void bpf_weak(int a) __ksym __weak;
SEC("tc") int prog(void *ctx) { if (bpf_ksym_exists(bpf_weak)) bpf_weak(1); bpf_weak(2); return 0; }
"""
    assert not needs(text).one(KfuncNeed).guarded


def test_a_weak_kfunc_that_nothing_names_is_no_need_and_a_strong_one_is(needs: Reader) -> None:
    text = """
extern void bpf_weak(int a) __ksym __weak;
extern void bpf_strong(int a) __ksym;
SEC("tc") int other(void *ctx) { bpf_strong(1); if (bpf_weak) bpf_weak(1); return 0; }
SEC("tc") int prog(void *ctx) { return 0; }
"""
    assert list(needs(text).of(KfuncNeed)) == ["bpf_strong"]


CORE = """
struct task_struct { int pid; int gone; struct { int inner; } sub; } __core;
struct task_struct___old { int state; } __core;
enum flags { FLAG_A = 1, FLAG_B = 2 };
struct absent { int x; } __core;
SEC("raw_tp/sys_enter") int prog(struct task_struct *t) {
    int sum = t->pid;
    if (bpf_core_field_exists(t->gone))
        sum += t->gone + bpf_ktime_get_ns();
    else
        sum += ((struct task_struct___old *)t)->state;
    if (bpf_core_type_exists(struct absent))
        sum += bpf_get_prandom_u32();
    if (bpf_core_enum_value_exists(enum flags, FLAG_B))
        sum += bpf_core_enum_value(enum flags, FLAG_B);
    sum += bpf_core_type_size(struct absent) + bpf_core_type_id_kernel(struct task_struct);
    return sum + t->sub.inner;
}
"""


def test_core_relocations_and_their_guards(needs: Reader) -> None:
    read = needs(CORE)
    found = {(n.label, n.name): n for n in read.programs["prog"] if isinstance(n, CoreReloNeed)}
    assert {key: (need.optional, need.conditions) for key, need in found.items()} == {
        ("byte_off", "struct task_struct.pid"): (False, ()),
        ("field_exists", "struct task_struct.gone"): (True, ()),
        ("byte_off", "struct task_struct.gone"): (False, ()),
        ("byte_off", "struct task_struct___old.state"): (False, ("not struct task_struct.gone exists",)),
        ("type_exists", "struct absent"): (True, ()),
        ("type_size", "struct absent"): (True, ()),
        ("enumval_exists", "enum flags.FLAG_B"): (True, ()),
        ("enumval_value", "enum flags.FLAG_B"): (False, ()),
        ("target_type_id", "struct task_struct"): (True, ()),
        ("byte_off", "struct task_struct.sub.inner"): (False, ()),
    }
    helpers = read.of(HelperNeed)
    assert helpers["bpf_ktime_get_ns"].conditions == ("struct task_struct.gone exists",)
    assert helpers["bpf_get_prandom_u32"].conditions == ("struct absent exists",)
    assert found["byte_off", "struct task_struct.pid"].source == "test.bpf.c:7"


KCONFIG = """
extern bool CONFIG_A __kconfig __weak;
extern enum libbpf_tristate CONFIG_M __kconfig __weak;
extern int CONFIG_HZ __kconfig;
extern unsigned LINUX_KERNEL_VERSION __kconfig;
SEC("tc") int prog(void *ctx) {
    if (CONFIG_A)
        bpf_ktime_get_ns();
    else
        bpf_get_prandom_u32();
    if (CONFIG_M == TRI_MODULE)
        ((long (*)(void))8)();
    if (LINUX_KERNEL_VERSION > 0x50a00)
        ((long (*)(void))125)();
    return CONFIG_HZ;
}
"""


def test_kconfig_values_guard(needs: Reader) -> None:
    read = needs(KCONFIG)
    found = read.of(KconfigNeed)
    assert {name: (need.weak, need.type, need.conditions) for name, need in found.items()} == {
        "CONFIG_A": (True, "_Bool", ()),
        "CONFIG_M": (True, "enum libbpf_tristate", ()),
        "CONFIG_HZ": (False, "int", ()),
        "LINUX_KERNEL_VERSION": (False, "unsigned int", ()),
    }
    helpers = read.of(HelperNeed)
    assert {name: need.conditions for name, need in helpers.items()} == {
        "bpf_ktime_get_ns": ("CONFIG_A is set",),
        "bpf_get_prandom_u32": ("not CONFIG_A is set",),
        "bpf_get_smp_processor_id": ("CONFIG_M is set",),
        "bpf_ktime_get_boot_ns": (),
    }


def test_ksyms(needs: Reader) -> None:
    text = """
struct rq { int cpu; };
extern const struct rq runqueues __ksym;
extern const void schedule __ksym __weak;
SEC("raw_tp/sys_enter") int prog(void *ctx) {
    if (&schedule)
        bpf_ktime_get_ns();
    return runqueues.cpu;
}
"""
    read = needs(text)
    found = read.of(KsymNeed)
    assert {name: need.weak for name, need in found.items()} == {"runqueues": False, "schedule": True}
    assert "struct rq runqueues" in found["runqueues"].declaration
    assert read.of(HelperNeed)["bpf_ktime_get_ns"].conditions == ("schedule exists",)


def test_program_type_and_capabilities(needs: Reader) -> None:
    text = """
SEC("xdp") int prog(void *ctx) { return 2; }
SEC("fentry.s/do_unlinkat") int sleepy(void *ctx) { return 0; }
SEC("kprobe/x") int probe(void *ctx) { return 0; }
SEC("socket") int sock(void *ctx) { return 0; }
SEC("nothing/like/it") int unknown(void *ctx) { return 0; }
"""
    read = needs(text)
    kind = read.one(ProgramTypeNeed)
    assert (kind.type, kind.attach_type, kind.sleepable) == (ProgramType.XDP, AttachType.XDP, False)
    assert read.one(ProgramTypeNeed, "sleepy").name == "TRACING sleepable as TRACE_FENTRY"
    wanted = {name: read.one(CapabilityNeed, name) for name in read.programs}
    assert {name: need.to_load for name, need in wanted.items()} == {
        "prog": ("CAP_BPF", "CAP_NET_ADMIN"),
        "sleepy": ("CAP_BPF", "CAP_PERFMON"),
        "probe": ("CAP_BPF", "CAP_PERFMON"),
        "sock": ("CAP_BPF",),
        "unknown": ("CAP_BPF",),
    }
    assert wanted["prog"].to_attach == ("CAP_NET_ADMIN",)
    assert wanted["probe"].to_attach == ("CAP_PERFMON",)
    assert wanted["sleepy"].to_attach == ()


@pytest.mark.parametrize(
    ("section", "kind", "target", "module", "at_load"),
    [
        ("fentry/do_unlinkat", TargetKind.FUNCTION, "do_unlinkat", None, True),
        ("fexit/xfs:xfs_read", TargetKind.FUNCTION, "xfs_read", "xfs", True),
        ("fmod_ret.s/x", TargetKind.FUNCTION, "x", None, True),
        ("fentry", TargetKind.FUNCTION, None, None, True),
        ("freplace/f", TargetKind.PROGRAM, "f", None, True),
        ("lsm/file_open", TargetKind.LSM_HOOK, "file_open", None, True),
        ("lsm_cgroup/socket_bind", TargetKind.LSM_HOOK, "socket_bind", None, True),
        ("tp_btf/sched_switch", TargetKind.TRACEPOINT_BTF, "sched_switch", None, True),
        ("iter/task", TargetKind.ITERATOR, "task", None, True),
        ("iter.s/task", TargetKind.ITERATOR, "task", None, True),
        ("raw_tp/sched_switch", TargetKind.RAW_TRACEPOINT, "sched_switch", None, False),
        ("raw_tracepoint.w/x", TargetKind.RAW_TRACEPOINT, "x", None, False),
        ("tp/sched/sched_switch", TargetKind.TRACEPOINT, "sched/sched_switch", None, False),
        ("kprobe/vfs_read", TargetKind.KPROBE, "vfs_read", None, False),
        ("kprobe.multi/vfs_*", TargetKind.KPROBE, "vfs_*", None, False),
        ("ksyscall/open", TargetKind.SYSCALL, "open", None, False),
        ("uprobe//bin/sh:main", TargetKind.UPROBE, "/bin/sh:main", None, False),
        ("usdt/libc:a:b", TargetKind.USDT, "libc:a:b", None, False),
    ],
)
def test_attach_targets(
    needs: Reader, section: str, kind: TargetKind, target: str | None, module: str | None, at_load: bool
) -> None:
    need = needs(f'SEC("{section}") int prog(void *ctx) {{ return 0; }}').one(AttachTargetNeed)
    assert (need.target_kind, need.target, need.module, need.at_load) == (kind, target, module, at_load)


@pytest.mark.parametrize("section", ["socket", "xdp", "tc", "syscall", "perf_event", "cgroup/dev"])
def test_sections_without_a_target(needs: Reader, section: str) -> None:
    assert needs(f'SEC("{section}") int prog(void *ctx) {{ return 0; }}').of(AttachTargetNeed) == {}


LICENSED = """
extern void bpf_kfunc(void) __ksym;
SEC("tc") int prog(void *ctx) { return bpf_probe_read_kernel(ctx, 0, ctx); }
SEC("tc") int calls(void *ctx) { bpf_kfunc(); return 0; }
SEC("tc") int plain(void *ctx) { return bpf_get_prandom_u32(); }
SEC("lsm/file_open") int hook(void *ctx) { return 0; }
"""


@pytest.mark.parametrize(
    ("license_", "compatible"),
    [
        ("GPL", True),
        ("Dual BSD/GPL", True),
        ("GPL v2", True),
        ("Apache-2.0", False),
        ("gpl", False),
        (None, False),
    ],
)
def test_who_demands_the_license(needs: Reader, license_: str | None, compatible: bool) -> None:
    read = needs(LICENSED, license_=license_)
    found = {name: read.of(LicenseNeed, name) for name in read.programs}
    demands = {name: need.demanded_by for name, rows in found.items() for need in rows.values()}
    assert demands == {
        "prog": ("bpf_probe_read_kernel",),
        "calls": ("bpf_kfunc",),
        "hook": ("program type LSM",),
    }
    assert all(need.compatible is compatible for rows in found.values() for need in rows.values())


MAPS = """
struct { __uint(type, 1); __uint(max_entries, 0); __type(key, int); __type(value, int);
} unsized SEC(".maps");
struct { __uint(type, 27); } ring SEC(".maps");
struct { __uint(type, 7); __uint(key_size, 4); __uint(max_entries, 8); } stacks SEC(".maps");
struct { __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
struct { __uint(type, 29); __uint(map_flags, 1); __type(key, int); __type(value, int);
} storage SEC(".maps");
struct { __uint(type, 13); __uint(max_entries, 8); __type(key, int); __uint(value_size, 4);
} bare SEC(".maps");
struct { __uint(type, 13); __uint(max_entries, 8); __type(key, int);
    __array(values, struct { __uint(type, 2); __type(key, int); __type(value, int); });
} full SEC(".maps");
int counter;
SEC("tc") int prog(void *ctx) {
    int key = 0;
    counter++;
    return !!bpf_map_lookup_elem(&unsized, &key);
}
"""


def test_maps_and_what_the_application_sets(needs: Reader) -> None:
    read = needs(MAPS)
    found = read.of(MapNeed)
    assert {name: need.application_sets for name, need in found.items()} == {
        "unsized": ("max_entries",),
        "ring": ("max_entries",),
        "stacks": ("value_size",),
        "events": (),
        "storage": (),
        "bare": ("inner map",),
        "full": (),
        "test.bss": (),
    }
    assert {name for name, need in found.items() if need.used} == {"unsized", "test.bss"}
    assert found["unsized"].source == "test.bpf.c:18"
    assert found["ring"].source is None
    assert application_sets(found["full"].map) == ()


SHAPES = """
__u64 shared;
struct { __uint(type, 2); __uint(max_entries, 3); __type(key, int); __type(value, int); } map SEC(".maps");
static __noinline int sub(int x) { return x * 3 + bpf_get_prandom_u32(); }
static long callback(void *m, void *k, void *v, void *c) { return 0; }
SEC("tc") int prog(void *ctx) {
    __sync_fetch_and_or(&shared, 1);
    bpf_for_each_map_elem(&map, callback, 0, 0);
    for (int i = 0; i < 100; i++)
        if (bpf_ktime_get_ns() == i)
            return sub(i);
    return 0;
}
SEC("tc") int plain(void *ctx) { return 0; }
"""


def test_instructions(needs: Reader) -> None:
    read = needs(SHAPES)
    found = read.of(InstructionNeed)
    assert {name: need.source for name, need in found.items()} == {
        "alu32": "test.bpf.c:8",
        "atomic_bitwise": "test.bpf.c:7",
        "bpf2bpf": "test.bpf.c:11",
        "callback": "test.bpf.c:8",
        "loop": "test.bpf.c:9",
    }
    assert set(read.of(InstructionNeed, "plain")) == {"alu32"}
    assert not needs(SHAPES, cpu="v1").of(InstructionNeed, "plain")


def test_size_counts_subprograms(needs: Reader) -> None:
    read = needs(SHAPES)
    size = read.one(SizeNeed)
    assert size.functions == 3
    assert size.insns == len(read.spec.programs[0].insns)
    assert read.one(SizeNeed, "plain").insns == 2


def test_struct_ops(needs: Reader) -> None:
    text = """
struct ops { int (*one)(void *); int (*two)(void *); int (*three)(void *); int flags; };
SEC("struct_ops") int prog(void *ctx) { return 0; }
SEC("struct_ops") int other(void *ctx) { return 0; }
SEC(".struct_ops.link") struct ops mine = { .one = (void *)prog, .three = (void *)other, .flags = 1 };
"""
    need = needs(text).one(StructOpsNeed)
    assert (need.type_name, need.members) == ("ops", ("one", "three"))
    assert need.map.name == "mine"


def test_without_debug_information_there_are_no_lines(needs: Reader) -> None:
    read = needs('SEC("tc") int prog(void *ctx) { return bpf_get_prandom_u32(); }', flags=())
    assert read.one(HelperNeed).source is None
    assert read.spec.btf is None


def test_big_endian_objects_need_the_same(needs: Reader) -> None:
    for text in (KFUNCS, CORE, KCONFIG):
        little, big = needs(text), needs(text, big=True)
        for kind in (KfuncNeed, HelperNeed, CoreReloNeed, KconfigNeed):
            assert [
                (n.name, n.source, n.conditions) for n in little.programs["prog"] if isinstance(n, kind)
            ] == [(n.name, n.source, n.conditions) for n in big.programs["prog"] if isinstance(n, kind)]


def test_many_guards_in_a_large_program_are_bounded(needs: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost is guards x instructions; what is beyond the budget counts as unconditional."""
    count = 12
    before = "".join(f"extern void bpf_w{n}(int x) __ksym __weak;\n" for n in range(count))
    body = "".join(f"if (bpf_w{n}) {{ bpf_w{n}({n}); x += bpf_get_prandom_u32(); }} " for n in range(count))
    text = f'{before}SEC("tc") int prog(void *ctx) {{ int x = 0; {body} return x; }}'
    assert all(need.guarded for need in needs(text).of(KfuncNeed).values())
    size = len(needs(text).spec.programs[0].insns)
    monkeypatch.setattr("holdfast.needs.conditions.BUDGET", 3 * size)
    assert sum(need.guarded for need in needs(text).of(KfuncNeed).values()) == 3
