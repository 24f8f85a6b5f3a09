# SPDX-License-Identifier: Apache-2.0
"""Reasons come in the order in which libbpf and the kernel would meet them, each program on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.unit.predict.fake import ROOT, AllOn, Writer, kernel

from holdfast.elf import ObjectSpec
from holdfast.predict import Predictor, ReasonCode, Stage, check_object
from holdfast.terms import Evidence, Verdict

Compile = Callable[..., ObjectSpec]
R = ReasonCode

EVERYTHING = """
struct task_struct { int pid; int gone; } __core;
struct ops { int (*one)(void); };
extern int CONFIG_A __kconfig;
extern void bpf_strong(void) __ksym;
extern void bpf_weak(void) __ksym __weak;
struct { __uint(type, 27); } ring SEC(".maps");
SEC(".struct_ops") struct ops mine = {};
SEC("fentry.s/gone") int prog(__u64 *ctx) {
    struct task_struct *t = (void *)ctx[0];
    bpf_weak();
    bpf_strong();
    return t->gone + CONFIG_A + ((long (*)(void))5000)();
}
"""


def test_all_at_once(compiled: Compile) -> None:
    """Nothing that comes later is left out because something earlier fails."""
    facts = kernel(
        config=AllOn("A"), host=replace(ROOT, capabilities=frozenset()), without=("BPF_MAP_TYPE_RINGBUF",)
    )
    (verdict,) = check_object(compiled(EVERYTHING, license_="MIT", big=True), facts)
    assert [(reason.code, reason.stage) for reason in verdict.reasons] == [
        (R.FOREIGN_ENDIAN, Stage.PROBE_LOADING),
        (R.CAPABILITY_MISSING, Stage.PROBE_LOADING),
        (R.KFUNC_MISSING, Stage.EXTERNS),
        (R.KCONFIG_MISSING, Stage.EXTERNS),
        (R.STRUCT_OPS_MISSING, Stage.STRUCT_OPS),
        (R.MAP_TYPE_MISSING, Stage.MAPS),
        (R.TARGET_MISSING, Stage.PREPARE_LOAD),
        (R.KFUNC_MISSING, Stage.VERIFIER_WALK),
        (R.CORE_MISSING, Stage.VERIFIER_WALK),
        (R.HELPER_MISSING, Stage.VERIFIER_WALK),
    ]


def test_the_walk_follows_the_verifier(compiled: Compile) -> None:
    """Straight on before the jump, into a static function where it is called."""
    text = """
static __noinline int sub(__u64 x) { return ((long (*)(__u64))5001)(x); }
SEC("tc") int prog(__u64 *ctx) {
    if (bpf_get_prandom_u32() > 7)
        ((long (*)(void))5003)();
    ((long (*)(void))5000)();
    sub(bpf_ktime_get_ns());
    ((long (*)(void))5002)();
    return 0;
}
"""
    (verdict,) = check_object(compiled(text), kernel())
    needs = [reason.need for reason in verdict.reasons]
    assert needs[-3:] == ["helper helper #5000", "helper helper #5001", "helper helper #5002"]
    assert [reason.source for reason in verdict.reasons][-3:] == [
        "test.bpf.c:6",
        "test.bpf.c:2",
        "test.bpf.c:8",
    ]


def test_programs_are_judged_apart_and_share_what_the_object_lacks(compiled: Compile) -> None:
    text = """
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
SEC("tc") int good(__u64 *ctx) { return 0; }
SEC("tc") int bad(__u64 *ctx) { return ((long (*)(void))5000)(); }
"""
    good, bad = check_object(compiled(text), kernel())
    assert good.verdict is Verdict.LOADS
    assert [reason.code for reason in bad.reasons] == [R.HELPER_MISSING]
    good, bad = check_object(compiled(text), kernel(without=("BPF_MAP_TYPE_RINGBUF",)))
    assert [reason.code for reason in good.reasons] == [R.MAP_TYPE_MISSING]
    assert [reason.code for reason in bad.reasons] == [R.MAP_TYPE_MISSING, R.HELPER_MISSING]


def test_what_is_said_once_is_said_of_its_first_place(compiled: Compile) -> None:
    text = """
SEC("tc") int prog(__u64 *ctx) {
    ((long (*)(void))5000)();
    ((long (*)(void))5000)();
    return 0;
}
"""
    (verdict,) = check_object(compiled(text), kernel())
    assert [(reason.code, reason.source) for reason in verdict.reasons] == [
        (R.HELPER_MISSING, "test.bpf.c:3")
    ]


def test_dead_code_gives_no_reasons(compiled: Compile) -> None:
    text = """
struct task_struct { int pid; int gone; } __core;
extern bool CONFIG_A __kconfig __weak;
extern unsigned LINUX_KERNEL_VERSION __kconfig;
const volatile bool chosen = 0;
SEC("raw_tp/x") int prog(struct task_struct *t) {
    if (bpf_core_field_exists(t->gone))
        ((long (*)(void))5000)();
    if (CONFIG_A)
        ((long (*)(void))5001)();
    if (LINUX_KERNEL_VERSION >= 0x60d00)
        ((long (*)(void))5002)();
    if (chosen)
        ((long (*)(void))5003)();
    return 0;
}
"""
    spec = compiled(text)
    (verdict,) = check_object(spec, kernel(config=AllOn("A")))
    assert verdict.reasons == ()
    (verdict,) = check_object(spec, kernel(release=(6, 13)))
    assert [reason.need for reason in verdict.reasons] == ["helper helper #5001", "helper helper #5002"]


def test_global_functions_are_looked_at_whether_called_or_not(compiled: Compile) -> None:
    """Since v6.8 only those that are called (2afae08c9dcb); BTF shows a member of that series."""
    text = """
extern bool CONFIG_A __kconfig __weak;
__noinline int unlikely(int x) { return x + ((long (*)(void))5000)(); }
SEC("tc") int prog(__u64 *ctx) { return CONFIG_A ? unlikely(3) : 1; }
"""
    spec = compiled(text)
    (lazy,) = check_object(spec, kernel(config=AllOn("A")))
    assert lazy.reasons == ()
    (eager,) = check_object(spec, kernel(config=AllOn("A"), without=("called",)))
    assert [reason.code for reason in eager.reasons] == [R.HELPER_MISSING]


def test_a_predictor_remembers_nothing_wrong(compiled: Compile) -> None:
    """Two objects with one predictor get what each gets alone."""
    texts = (
        'SEC("tc") int prog(__u64 *ctx) { return ((long (*)(void *))46)(ctx); }',
        'SEC("raw_tp/x") int prog(__u64 *ctx) { return ((long (*)(void *))46)(ctx); }',
        'SEC("tc") int prog(__u64 *ctx) { return ((long (*)(void *))113)(ctx); }',
    )
    specs = [compiled(text, license_="MIT") for text in texts] + [compiled(texts[2])]
    alone = [check_object(spec, kernel()) for spec in specs]
    predictor = Predictor(kernel())
    assert [predictor.check(spec) for spec in specs] == alone
    assert [predictor.check(spec) for spec in reversed(specs)] == alone[::-1]


def test_evidence_is_the_strongest(compiled: Compile) -> None:
    def with_variable(w: Writer) -> None:
        w.function("vfs_read", w.int)

    (verdict,) = check_object(
        compiled('SEC("fentry/gone") int prog(void *c) { return 0; }'), kernel(with_variable)
    )
    (reason,) = verdict.reasons
    assert (reason.evidence, reason.certain) == (Evidence.BTF, True)
    assert reason.hint
