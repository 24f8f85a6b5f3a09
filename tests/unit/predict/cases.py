# SPDX-License-Identifier: Apache-2.0
"""For every reason and hazard: a program and a kernel that make it appear, and a neighbour that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.elfwriter import LOCAL, SECTION, ElfWriter, insn
from tests.unit.predict.fake import ROOT, AllOn, Writer, kernel

from holdfast.kernels import KernelFacts
from holdfast.kernels.host import HostFacts
from holdfast.kernels.kfuncs import Registration
from holdfast.kernels.probed import KindUse, ProbeFacts
from holdfast.predict import HazardCode, ReasonCode
from holdfast.terms import AttachType, Evidence, ProgramType

__all__ = ["CASES", "Case", "Side"]

R, H = ReasonCode, HazardCode
Source = str | Callable[[], bytes]


@dataclass(frozen=True)
class Side:
    """A C text (or a function that writes an ELF file), how to compile it, and the kernel to judge it for."""

    source: Source
    kernel: Callable[[], KernelFacts] = kernel
    libbpf: tuple[int, int] = (1, 7)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """``words`` stand in the reason's message; ``name`` tells cases of one code apart."""

    code: ReasonCode | HazardCode
    words: str
    here: Side
    neighbour: Side
    name: str = ""


def facts(extra: Callable[[Writer], object] = lambda _: None, **options: Any) -> Callable[[], KernelFacts]:
    return lambda: kernel(extra, **options)


def blind(**options: Any) -> Callable[[], KernelFacts]:
    """A kernel of which only the release is known."""
    return lambda: replace(kernel(**options), vmlinux=None, config=None)


def unconfigured(
    extra: Callable[[Writer], object] = lambda _: None, **options: Any
) -> Callable[[], KernelFacts]:
    return lambda: replace(kernel(extra, **options), config=None)


def on_host(host: HostFacts, **fields: Any) -> Callable[[], KernelFacts]:
    return lambda: kernel(host=host, **fields)


PLAIN = 'SEC("tc") int prog(void *ctx) { return 0; }'


def program(section: str, body: str = "return 0;", before: str = "") -> str:
    return f'{before}\nSEC("{section}") int prog(__u64 *ctx) {{ {body} }}'


def mapped(declaration: str, section: str = "tc") -> str:
    text = f'struct {{ {declaration} }} m SEC(".maps");'
    return program(section, "int key = 0; return !!bpf_map_lookup_elem(&m, &key);", text)


ARRAY = "__uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, int);"
CGROUPS, XSKS = ARRAY.replace("2", "8", 1), ARRAY.replace("2", "17", 1)
OUTER = ARRAY.replace("2", "12", 1).replace("__type(value, int)", f"__array(values, struct {{ {ARRAY} }})")
TASKS = "__uint(type, 29); __uint(map_flags, 1); __type(key, int);"
HASH = "__uint(type, 1); __uint(max_entries, 1); __type(key, int);"


def bad_call() -> bytes:
    """A static call past the end of .text."""
    elf = ElfWriter()
    elf.license()
    elf.program("leaf", ".text", bind=LOCAL)
    text = elf.symbol("", 2, bind=LOCAL, kind=SECTION)
    number = elf.program("prog", "tc", insn(0x85, 0, 1, 0, 70) + insn(0x95))
    elf.relocation(number, 0, text)
    return elf.bytes()


def code(*slots: bytes, section: str = "tc") -> Callable[[], bytes]:
    def write() -> bytes:
        elf = ElfWriter()
        elf.license()
        elf.program("prog", section, b"".join(slots) + insn(0xB7) + insn(0x95))
        return elf.bytes()

    return write


# -- kernels ----------------------------------------------------------------------------------------------


def with_kfunc(*, flavour: str = "same", tagged: bool = True, other: bool = True) -> Callable[[Writer], None]:
    def write(w: Writer) -> None:
        params = {"same": (w.task_ptr, w.int), "fewer": (w.task_ptr,), "wider": (w.task_ptr, w.u64)}[flavour]
        w.function("bpf_kfunc", w.int, *params, kfunc=tagged)
        if other:
            w.function("bpf_other", w.int, kfunc=True)

    return write


def with_impl(w: Writer) -> None:
    """What resolve_btfids makes of a kfunc with KF_IMPLICIT_ARGS."""
    with_kfunc()(w)
    w.function("bpf_kfunc_impl", w.int, w.task_ptr, w.int, w.task_ptr)


def registered(*kinds: ProgramType, flags: str = "") -> dict[str, Registration]:
    set_flags = frozenset(flags.split())
    return {"bpf_kfunc": Registration(set_flags, frozenset(kinds), False, (Evidence.BTF_IDS,))}


TC = registered(ProgramType.SCHED_CLS)
SLEEPING = registered(ProgramType.SCHED_CLS, ProgramType.SYSCALL, flags="SLEEPABLE")
IN_RCU = registered(ProgramType.SYSCALL, flags="RCU_PROTECTED")
IMPLICIT = registered(ProgramType.SCHED_CLS, flags="IMPLICIT_ARGS")
DESTRUCTIVE = registered(ProgramType.SCHED_CLS, flags="DESTRUCTIVE")
KFUNC = "struct task_struct { int pid; };\nextern int bpf_kfunc(struct task_struct *t, int x) __ksym"
STRONG = program("tc", "return bpf_kfunc((void *)ctx, 1);", f"{KFUNC};")
BOUND = STRONG.replace("bpf_kfunc", "bpf_xdp_metadata_rx_hash")


def for_devices(w: Writer) -> None:
    w.function("bpf_xdp_metadata_rx_hash", w.int, w.task_ptr, w.int, kfunc=True)


GUARDED = program(
    "tc", "if (bpf_ksym_exists(bpf_kfunc)) return bpf_kfunc((void *)ctx, 1); return 0;", f"{KFUNC} __weak;"
)
DEAD = program(
    "tc",
    "if (bpf_ksym_exists(bpf_absent)) return bpf_kfunc((void *)ctx, 1); return 0;",
    f"{KFUNC};\nextern int bpf_absent(void) __ksym __weak;",
)
UNGUARDED = program("tc", "return bpf_kfunc((void *)ctx, 1);", f"{KFUNC} __weak;")


def with_variable(kind: str) -> Callable[[Writer], None]:
    def write(w: Writer) -> None:
        rq = w.struct("rq", 8, ("cpu", w.int, 0))
        shape = {"rq": rq, "int": w.int}[kind]
        w.datasec(".data..percpu", 8, (w.var("runqueues", shape), 0, 8))

    return write


def runqueues(how: str = "") -> str:
    before = f"struct rq {{ int cpu; }}; extern const struct rq runqueues __ksym {how};"
    return program("raw_tp/x", "return runqueues.cpu;" if not how else "return &runqueues ? 1 : 0;", before)


UNTYPED = program("raw_tp/x", "return (long)&schedule & 1;", "extern const void schedule __ksym;")


def ops(*members: str, wrapped: bool = True, kind: str = "pointer") -> Callable[[Writer], None]:
    def write(w: Writer) -> None:
        pointer = w.ptr(w.proto(w.int, ("x", w.u64)))
        shape = {"pointer": pointer, "int": w.int}[kind]
        rows = [(name, shape, 64 * at) for at, name in enumerate(members)]
        w.struct("ops", 8 * len(members), *rows)
        if wrapped:
            w.struct("bpf_struct_ops_ops", 8, ("data", w.int, 0))

    return write


STRUCT_OPS = """
struct ops { int (*one)(__u64); int (*two)(__u64); };
SEC("struct_ops") int prog(__u64 *ctx) { return 0; }
SEC(".struct_ops") struct ops mine = { .one = (void *)prog };
"""
TWO_MEMBERS = STRUCT_OPS.replace("{ .one = (void *)prog }", "{ .two = (void *)prog }")
UNUSED = program("struct_ops")

FIELD = """
struct task_struct { int pid; int gone; } __core;
SEC("raw_tp/x") int prog(struct task_struct *t) { return t->%s; }
"""
GUARDED_FIELD = """
struct task_struct { int pid; int gone; } __core;
SEC("raw_tp/x") int prog(struct task_struct *t) {
    if (bpf_core_field_exists(t->gone))
        return t->gone;
    return 0;
}
"""


def two_of_a_name(w: Writer) -> None:
    w.struct("task_struct", 32, ("pad", w.u64, 0), ("pid", w.int, 64))


def called(number: int, section: str = "tc") -> str:
    return program(section, f"return ((long (*)(void *)){number})(ctx);")


def traced(w: Writer) -> None:
    w.function("vfs_read", w.int, w.long)
    w.function("variadic", w.int, w.long, 0)
    w.function("wide", w.int, *[w.long] * 8)
    w.function("__x64_sys_nanosleep", w.int, w.task_ptr)
    w.function("bpf_lsm_file_open", w.int, w.task_ptr)
    w.function("bpf_lsm_inode_getsecurity", w.int, w.task_ptr)
    w.function("bpf_lsm_task_free", 0, w.task_ptr)
    proto = w.proto(0, ("data", w.u64), ("task", w.task_ptr), ("x", w.int))
    w.typedef("btf_trace_sched_x", w.ptr(proto))


TRACED = facts(traced)


def traced_task(w: Writer) -> None:
    w.typedef("btf_trace_sched_x", w.ptr(w.proto(0, ("data", w.u64), ("x", w.int), ("task", w.task_ptr))))


def family(w: Writer) -> None:
    parent = w.struct("task_struct_parent", 16, ("pid", w.int, 0))
    task = w.struct("family", 16, ("parent", w.ptr(parent), 64))
    w.struct("family__safe_trusted_or_null", 8, ("parent", w.ptr(parent), 0))
    w.function("bpf_lsm_task_free", 0, w.ptr(task))


FAMILY = "struct family { long pad; struct { int pid; } *parent; };"
FAR = "return ((struct family *)ctx[0])->parent->pid;"
NEAR = "struct family *f = (void *)ctx[0]; return f->parent ? f->parent->pid : 0;"
LARGE = (
    "#define use(p) ((long (*)(void *, unsigned, void *))4)(p, 300, 0)\n"
    "static __attribute__((noinline)) int large(void *p) { char b[300]; use(b); return b[7] + *(char *)p; }"
)
MINE = "struct mine { int near; char pad[60]; int far; };"
DENIED = ProbeFacts(kinds={KindUse(ProgramType.TRACING, AttachType.TRACE_FENTRY, False): False})
BPF_ONLY = HostFacts(frozenset({"CAP_BPF"}))

CLOSED = """return ((struct mine *)ctx[1])->near; }
char closed[] SEC("license") = "none"; static int unused(void) { return 0;"""
LINKED = STRUCT_OPS.replace('SEC(".struct_ops")', 'SEC(".struct_ops.link")')
NULL_ARGUMENT = program("tc", "return bpf_kfunc(0, 1);", f"{KFUNC};")
TRUSTED = registered(ProgramType.SCHED_CLS, flags="TRUSTED_ARGS")

RING = """
struct { __uint(type, 27); __uint(max_entries, 4096); } rb SEC(".maps");
static void *(*reserve)(void *map, __u64 size, __u64 flags) = (void *)131;
static void (*submit)(void *record, __u64 flags) = (void *)132;
"""
ONE = """
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, int); } one SEC(".maps");
"""
CALLBACKS = """
static __noinline long two(__u32 at, void *ctx) { return 2; }
static __noinline long none(__u32 at, void *ctx) { return 0; }
"""
LOCKS = """
struct bpf_spin_lock { __u32 val; };
struct held { struct bpf_spin_lock lock; int n; };
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, struct held); } h
SEC(".maps");
static long (*lock)(void *) = (void *)93;
static long (*unlock)(void *) = (void *)94;
static __noinline int bump(struct held *v) { return ++v->n; }
"""
LOCKED = (
    "int k = 0; struct held *v = bpf_map_lookup_elem(&h, &k); if (!v) return 0; lock(v); v->n++; {} return 0;"
)

CASES = (
    Case(
        R.OBJECT_REFUSED,
        "program 'prog' is static and not supported (bpf_object__add_programs)",
        Side(
            'SEC("tc") static int prog(void *ctx) { return 0; } SEC("tc") int other(void *ctx) { return 1; }'
        ),
        Side(PLAIN),
    ),
    Case(R.LINK_FAILED, "no .text section found yet", Side(bad_call), Side(PLAIN)),
    Case(
        R.FOREIGN_ENDIAN,
        "big-endian, the kernel little-endian",
        Side(PLAIN, options={"big": True}),
        Side(PLAIN),
    ),
    Case(R.SECTION_MISSING, "knows no section 'nothing/x'", Side(program("nothing/x")), Side(PLAIN)),
    Case(
        R.SECTION_MISSING,
        "libbpf 1.6 knows no section",
        Side(program("fsession/vfs_read"), TRACED, (1, 6)),
        Side(program("fsession/vfs_read"), TRACED, (1, 7)),
        "newer",
    ),
    Case(
        R.CAPABILITY_MISSING,
        "no CAP_BPF",
        Side(PLAIN, on_host(HostFacts(frozenset({"CAP_NET_ADMIN"})))),
        Side(PLAIN, on_host(ROOT)),
    ),
    Case(
        R.CAPABILITY_MISSING,
        "asks for CAP_NET_ADMIN",
        Side(program("xdp"), on_host(BPF_ONLY)),
        Side(program("socket"), on_host(BPF_ONLY)),
        "second",
    ),
    Case(
        R.CAPABILITY_MISSING,
        "no CAP_BPF",
        Side(PLAIN, on_host(replace(ROOT, initial_user_namespace=False))),
        Side(PLAIN, on_host(HostFacts(frozenset({"CAP_SYS_ADMIN"})))),
        "namespace",
    ),
    Case(
        R.POLICY_DENIED,
        "denies (EPERM, no capability missing)",
        Side(program("fentry/vfs_read"), facts(traced, host=ROOT, probes=DENIED)),
        Side(program("fexit/vfs_read"), facts(traced, host=ROOT, probes=DENIED)),
    ),
    Case(
        R.KERNEL_BTF_MISSING,
        "the kernel has no BTF",
        Side(FIELD % "pid", lambda: replace(kernel(), vmlinux=None)),
        Side(PLAIN, lambda: replace(kernel(), vmlinux=None)),
    ),
    Case(
        R.KCONFIG_MISSING,
        "CONFIG_A is not set",
        Side(program("tc", "return CONFIG_A;", "extern bool CONFIG_A __kconfig;"), facts(config=AllOn("A"))),
        Side(
            program("tc", "return CONFIG_A;", "extern bool CONFIG_A __kconfig __weak;"),
            facts(config=AllOn("A")),
        ),
    ),
    Case(
        R.KCONFIG_MISSING,
        "no virtual kconfig value LINUX_MADE_UP",
        Side(program("tc", "return LINUX_MADE_UP;", "extern int LINUX_MADE_UP __kconfig;")),
        Side(program("tc", "return LINUX_MADE_UP;", "extern int LINUX_MADE_UP __kconfig __weak;")),
        "virtual",
    ),
    Case(
        R.KCONFIG_MISSING,
        "the kernel's config is not readable",
        Side(
            program("tc", "return CONFIG_A;", "extern bool CONFIG_A __kconfig __weak;"),
            lambda: replace(kernel(host=ROOT), config=None),
        ),
        Side(
            program("tc", "return LINUX_KERNEL_VERSION;", "extern unsigned LINUX_KERNEL_VERSION __kconfig;"),
            lambda: replace(kernel(host=ROOT), config=None),
        ),
        "unreadable",
    ),
    *(
        Case(
            R.KCONFIG_INCOMPATIBLE,
            f"CONFIG_A={value} does not go into the object's {said}",
            Side(
                program("tc", "return 0 + (long)CONFIG_A;", f"extern {wrong} __kconfig __weak;"),
                facts(config=AllOn(A=value)),
            ),
            Side(
                program("tc", "return 0 + (long)CONFIG_A;", f"extern {right} __kconfig __weak;"),
                facts(config=AllOn(A=value)),
            ),
            f"{value}-{said}",
        )
        for value, said, wrong, right in (
            ("m", "bool", "bool CONFIG_A", "enum libbpf_tristate CONFIG_A"),
            ("y", "int", "int CONFIG_A", "char CONFIG_A"),
            ("y", "int", "long CONFIG_A", "bool CONFIG_A"),
            ("250", "bool", "bool CONFIG_A", "int CONFIG_A"),
            ("1", "enum libbpf_tristate", "enum libbpf_tristate CONFIG_A", "char CONFIG_A"),
            ("300", "char", "char CONFIG_A", "__u16 CONFIG_A"),
            ("-1", "int", "__u32 CONFIG_A", "int CONFIG_A"),
            ("0x80000000", "int", "int CONFIG_A", "__u32 CONFIG_A"),
            ("(none)", "int", "int CONFIG_A", "char CONFIG_A[8]"),
        )
    ),
    Case(
        R.KCONFIG_INCOMPATIBLE,
        "the value of LINUX_KERNEL_VERSION does not go into",
        Side(program("tc", "return LINUX_KERNEL_VERSION;", "extern short LINUX_KERNEL_VERSION __kconfig;")),
        Side(program("tc", "return LINUX_KERNEL_VERSION;", "extern int LINUX_KERNEL_VERSION __kconfig;")),
        "virtual",
    ),
    Case(
        R.KCONFIG_UNKNOWN,
        "nothing tells the config",
        Side(program("tc", "return CONFIG_A;", "extern bool CONFIG_A __kconfig __weak;"), unconfigured()),
        Side(program("tc", "return CONFIG_A;", "extern bool CONFIG_A __kconfig __weak;")),
    ),
    Case(
        R.KSYM_MISSING,
        "runqueues is not in the BTF",
        Side(runqueues()),
        Side(runqueues(), facts(with_variable("rq"))),
    ),
    Case(
        R.KSYM_MISSING,
        "schedule",
        Side(UNTYPED, lambda: replace(kernel(), kallsyms=lambda name: [])),
        Side(UNTYPED, lambda: replace(kernel(), kallsyms=lambda name: [1])),
        "untyped",
    ),
    Case(
        R.KSYM_MISSING,
        "CONFIG_KALLSYMS_ALL is not set",
        Side(runqueues("__weak"), facts(with_variable("rq"), config=AllOn("KALLSYMS_ALL"))),
        Side(runqueues("__weak"), facts(with_variable("rq"))),
        "address",
    ),
    Case(
        R.KSYM_INCOMPATIBLE,
        "the object expects",
        Side(runqueues("__weak"), facts(with_variable("int"))),
        Side(runqueues("__weak"), facts(with_variable("rq"))),
    ),
    Case(
        R.KSYM_UNKNOWN,
        "nothing tells whether",
        Side(UNTYPED),
        Side(UNTYPED.replace("__ksym;", "__ksym __weak;")),
    ),
    Case(
        R.KSYM_UNKNOWN,
        "may have no address",
        Side(runqueues(), unconfigured(with_variable("rq"))),
        Side(runqueues(), facts(with_variable("rq"))),
        "address",
    ),
    Case(
        R.KFUNC_MISSING,
        "bpf_kfunc is not in the BTF",
        Side(STRONG),
        Side(STRONG, facts(with_kfunc(), registrations=TC)),
    ),
    Case(R.KFUNC_MISSING, "its call is not guarded", Side(UNGUARDED), Side(GUARDED), "weak"),
    Case(
        R.KFUNC_MISSING,
        "bpf_kfunc___two is not in the BTF",
        Side(STRONG.replace("bpf_kfunc", "bpf_kfunc___two"), facts(with_kfunc(), registrations=TC), (1, 2)),
        Side(STRONG.replace("bpf_kfunc", "bpf_kfunc___two"), facts(with_kfunc(), registrations=TC), (1, 3)),
        "flavour",
    ),
    Case(
        R.KFUNC_INCOMPATIBLE,
        "the object expects",
        Side(STRONG, facts(with_kfunc(flavour="fewer"), registrations=TC)),
        Side(STRONG, facts(with_kfunc(), registrations=TC)),
    ),
    Case(
        R.KFUNC_INCOMPATIBLE,
        "its call is not guarded",
        Side(UNGUARDED, facts(with_kfunc(flavour="fewer"), registrations=TC)),
        Side(GUARDED, facts(with_kfunc(flavour="fewer"), registrations=TC)),
        "weak",
    ),
    Case(
        R.KFUNC_NOT_ALLOWED,
        "it is in no kfunc set",
        Side(STRONG, facts(with_kfunc(tagged=False), registrations={})),
        Side(STRONG, facts(with_kfunc(tagged=False))),
    ),
    Case(
        R.KFUNC_NOT_ALLOWED,
        "not registered for SCHED_CLS",
        Side(STRONG, facts(with_kfunc(), registrations=registered(ProgramType.XDP))),
        Side(STRONG, facts(with_kfunc(), registrations=registered(ProgramType.XDP, ProgramType.SCHED_CLS))),
        "type",
    ),
    Case(
        R.KFUNC_NOT_ALLOWED,
        "lacks the function bpf_kfunc_impl",
        Side(STRONG, facts(with_kfunc(), registrations=IMPLICIT)),
        Side(STRONG, facts(with_impl, registrations=IMPLICIT)),
        "implicit arguments",
    ),
    Case(
        R.KFUNC_NOT_ALLOWED,
        "lacks the function bpf_kfunc_impl",
        Side(DEAD, facts(with_kfunc(), registrations=IMPLICIT)),
        Side(DEAD, facts(with_kfunc(), registrations=TC)),
        "implicit arguments of a dead call",
    ),
    Case(
        R.KFUNC_UNKNOWN,
        "may call what the program that it replaces may",
        Side(STRONG.replace('"tc"', '"freplace/prog"'), facts(with_kfunc(), registrations=TC)),
        Side(STRONG, facts(with_kfunc(), registrations=TC)),
        "extension",
    ),
    Case(
        R.KFUNC_UNKNOWN,
        "cannot be told",
        Side(STRONG, facts(with_kfunc())),
        Side(STRONG, facts(with_kfunc(), registrations=TC)),
    ),
    Case(
        R.STRUCT_OPS_MISSING,
        "struct ops is not in the BTF",
        Side(STRUCT_OPS),
        Side(STRUCT_OPS, facts(ops("one"))),
    ),
    Case(
        R.STRUCT_OPS_MISSING,
        "struct bpf_struct_ops_ops is not",
        Side(STRUCT_OPS, facts(ops("one", wrapped=False))),
        Side(STRUCT_OPS, facts(ops("one", "three"))),
        "unregistered",
    ),
    Case(
        R.STRUCT_OPS_MISMATCH,
        "no member two, and the object sets it",
        Side(TWO_MEMBERS, facts(ops("one"))),
        Side(STRUCT_OPS, facts(ops("one"))),
    ),
    Case(
        R.STRUCT_OPS_MISMATCH,
        "is a PTR, in the kernel a INT",
        Side(STRUCT_OPS, facts(ops("one", kind="int"))),
        Side(STRUCT_OPS, facts(ops("one"))),
        "kind",
    ),
    Case(R.STRUCT_OPS_UNUSED, "no struct_ops map", Side(UNUSED), Side(STRUCT_OPS, facts(ops("one")))),
    Case(
        R.CORE_INVALID,
        "libbpf stops at this relocation",
        Side(FIELD % "pid", facts(two_of_a_name)),
        Side(FIELD % "pid"),
    ),
    Case(R.CORE_MISSING, "no field 'gone'", Side(FIELD % "gone"), Side(GUARDED_FIELD)),
    Case(
        R.MAP_TYPE_MISSING,
        "no map type 222",
        Side(mapped("__uint(type, 222);")),
        Side(mapped("__uint(type, 222);"), blind()),
        "newer",
    ),
    Case(
        R.MAP_TYPE_MISSING,
        "no map type RINGBUF",
        Side(
            mapped("__uint(type, 27); __uint(max_entries, 4096);"), facts(without=("BPF_MAP_TYPE_RINGBUF",))
        ),
        Side(mapped("__uint(type, 27); __uint(max_entries, 4096);")),
    ),
    Case(
        R.MAP_TYPE_MISSING,
        "no map type CGROUP_ARRAY",
        Side(mapped(CGROUPS), facts(config=AllOn("CGROUPS"))),
        Side(mapped(CGROUPS)),
        "config",
    ),
    Case(
        R.MAP_TYPE_UNKNOWN,
        "map type 222 is new",
        Side(mapped("__uint(type, 222);"), blind()),
        Side(mapped("__uint(type, 222);")),
    ),
    Case(
        R.MAP_TYPE_UNKNOWN,
        "cannot be told",
        Side(mapped(XSKS), unconfigured()),
        Side(mapped(ARRAY), unconfigured()),
        "config",
    ),
    Case(
        R.MAP_INVALID,
        "key_size",
        Side(mapped("__uint(type, 2); __uint(max_entries, 1); __type(key, __u64); __type(value, int);")),
        Side(mapped(ARRAY)),
    ),
    Case(
        R.MAP_INVALID,
        "the object declares none",
        Side(mapped(OUTER.partition("__array")[0] + "__uint(value_size, 4);")),
        Side(mapped(OUTER)),
        "inner",
    ),
    Case(
        R.MAP_UNKNOWN,
        "cannot hold a kptr",
        Side(
            mapped(f'{TASKS} __type(value, struct {{ int __attribute__((btf_type_tag("kptr"))) *p; }});'),
            facts(release=(6, 5)),
        ),
        Side(mapped(f"{TASKS} __type(value, struct {{ int *p; }});"), facts(release=(6, 5))),
    ),
    Case(
        R.MAP_INVALID,
        "cannot be an inner map",
        Side(mapped(OUTER.replace("type, 2)", "type, 3)"))),
        Side(mapped(OUTER)),
        "kind of inner",
    ),
    Case(
        R.MAP_INVALID,
        "takes no flag 0x800000",
        Side(mapped(f"{ARRAY} __uint(map_flags, 0x800000);")),
        Side(mapped(f"{ARRAY} __uint(map_flags, 0x400);")),
        "flag",
    ),
    Case(
        R.TARGET_UNSET,
        "does not say what to attach to",
        Side(program("fentry"), TRACED),
        Side(program("fentry/vfs_read"), TRACED),
    ),
    Case(
        R.TARGET_UNSET,
        "which program to replace",
        Side(program("freplace/f"), TRACED),
        Side(PLAIN),
        "freplace",
    ),
    Case(
        R.TARGET_MISSING,
        "vfs_gone is not in the BTF",
        Side(program("fentry/vfs_gone"), TRACED),
        Side(program("kprobe/vfs_gone"), TRACED),
    ),
    Case(
        R.TARGET_MISSING,
        "vfs_read is in the BTF of no loaded module xfs*",
        Side(program("fentry/xfs:vfs_read"), TRACED),
        Side(program("fentry/vmlinux:vfs_read"), TRACED),
        "module",
    ),
    Case(
        R.TARGET_REFUSED,
        "variable arguments",
        Side(program("fentry/variadic"), TRACED),
        Side(program("fentry/vfs_read"), TRACED),
    ),
    Case(
        R.TARGET_REFUSED,
        "closed to BPF",
        Side(program("lsm/inode_getsecurity"), TRACED),
        Side(program("lsm/file_open"), TRACED),
        "lsm",
    ),
    Case(
        R.TARGET_REFUSED,
        "no place to sleep",
        Side(program("lsm.s/task_free"), TRACED),
        Side(program("lsm.s/file_open"), TRACED),
        "sleep",
    ),
    Case(
        R.TARGET_UNKNOWN,
        "open to error injection",
        Side(program("fentry.s/vfs_read"), TRACED),
        Side(program("fentry.s/__x64_sys_nanosleep"), TRACED),
    ),
    Case(
        R.PROGRAM_TYPE_MISSING,
        "NETFILTER",
        Side(program("netfilter"), facts(without=("BPF_PROG_TYPE_NETFILTER",))),
        Side(program("netfilter")),
    ),
    Case(
        R.PROGRAM_TYPE_MISSING,
        "CONFIG_BPF_LIRC_MODE2 is not set",
        Side(program("lirc_mode2"), facts(config=AllOn("BPF_LIRC_MODE2"))),
        Side(program("lirc_mode2")),
        "config",
    ),
    Case(
        R.PROGRAM_TYPE_UNKNOWN,
        "XDP",
        Side(program("xdp"), blind()),
        Side(program("xdp"), unconfigured()),
    ),
    Case(
        R.ATTACH_TYPE_MISSING,
        "has no CGROUP_UNIX_CONNECT",
        Side(program("cgroup/connect_unix"), facts(without=("BPF_CGROUP_UNIX_CONNECT",))),
        Side(program("cgroup/connect_unix")),
    ),
    Case(
        R.KFUNC_NOT_ALLOWED,
        "only a program that is bound to a device",
        Side(BOUND, facts(for_devices, registrations=TC)),
        Side(STRONG, facts(with_kfunc(), registrations=TC)),
        "device",
    ),
    Case(
        R.KFUNC_NOT_ALLOWED,
        "within an RCU section alone",
        Side(STRONG.replace('"tc"', '"syscall"'), facts(with_kfunc(), registrations=IN_RCU, release=(6, 18))),
        Side(STRONG.replace('"tc"', '"syscall"'), facts(with_kfunc(), registrations=IN_RCU, release=(6, 12))),
        "rcu",
    ),
    Case(
        R.SLEEPABLE_REFUSED,
        "it may sleep (KF_SLEEPABLE)",
        Side(STRONG, facts(with_kfunc(), registrations=SLEEPING)),
        Side(STRONG.replace('"tc"', '"syscall"'), facts(with_kfunc(), registrations=SLEEPING)),
        "kfunc",
    ),
    Case(
        R.CAPABILITY_MISSING,
        "it has KF_DESTRUCTIVE",
        Side(STRONG, facts(with_kfunc(), registrations=DESTRUCTIVE, host=ROOT)),
        Side(STRONG, facts(with_kfunc(), registrations=TC, host=ROOT)),
        "kfunc",
    ),
    Case(
        R.SLEEPABLE_REFUSED,
        "cannot be sleepable",
        Side(program("struct_ops.s"), facts(release=(6, 1))),
        Side(program("struct_ops.s"), facts(release=(6, 12))),
    ),
    Case(
        R.SLEEPABLE_UNKNOWN,
        "it changed between releases",
        Side(program("struct_ops.s"), facts(release=(6, 4))),
        Side(program("struct_ops"), facts(release=(6, 4))),
    ),
    Case(
        R.LICENSE_REFUSED,
        "LSM programs must have a GPL-compatible licence",
        Side(program("lsm/file_open"), TRACED, options={"license_": "MIT"}),
        Side(program("lsm/file_open"), TRACED),
    ),
    Case(
        R.LICENSE_REFUSED,
        "GPL-compatible programs, and the object's license is 'MIT'",
        Side(called(113, "raw_tp/x"), options={"license_": "MIT"}),
        Side(called(7, "raw_tp/x"), options={"license_": "MIT"}),
        "helper",
    ),
    Case(
        R.LICENSE_REFUSED,
        "kfuncs are for GPL-compatible programs",
        Side(STRONG, facts(with_kfunc(), registrations=TC), options={"license_": None}),
        Side(STRONG, facts(with_kfunc(), registrations=TC), options={"license_": "Dual MIT/GPL"}),
        "kfunc",
    ),
    Case(
        R.INSTRUCTION_MISSING,
        "came in 5.12",
        Side(program("tc", "__sync_fetch_and_or(&x, 1); return 0;", "__u64 x;"), facts(release=(5, 10))),
        Side(program("tc", "__sync_fetch_and_or(&x, 1); return 0;", "__u64 x;"), facts(release=(5, 12))),
    ),
    Case(
        R.INSTRUCTION_MISSING,
        "the JIT is off",
        Side(STRONG, facts(with_kfunc(), registrations=TC, host=replace(ROOT, bpf_jit_enable=0))),
        Side(STRONG, facts(with_kfunc(), registrations=TC, host=ROOT)),
        "jit",
    ),
    Case(R.INSTRUCTION_UNKNOWN, "in no known kernel", Side(code(insn(0xF7))), Side(code(insn(0xB7)))),
    Case(
        R.HELPER_MISSING,
        "ends before bpf_loop",
        Side(called(181), facts(release=(5, 10))),
        Side(called(181), facts(release=(6, 1))),
    ),
    Case(
        R.HELPER_MISSING, "enum bpf_func_id has no helper 5000", Side(called(5000)), Side(called(7)), "number"
    ),
    Case(
        R.HELPER_NOT_ALLOWED,
        "RAW_TRACEPOINT are not offered bpf_get_socket_cookie",
        Side(called(46, "raw_tp/x")),
        Side(called(46, "tc")),
    ),
    Case(
        R.HELPER_UNKNOWN,
        "needs CONFIG_XFRM",
        Side(called(66), unconfigured()),
        Side(called(66)),
    ),
    Case(
        R.CONTEXT_REFUSED,
        "argument",
        Side(program("tp_btf/sched_x", "return ctx[2];"), TRACED),
        Side(program("tp_btf/sched_x", "return ctx[1];"), TRACED),
    ),
    Case(
        R.ACCESS_REFUSED,
        "struct task_struct has 16 bytes here",
        Side(
            program("tp_btf/sched_x", "return ((struct mine *)ctx[1])->far;", before=MINE), facts(traced_task)
        ),
        Side(
            program("tp_btf/sched_x", "return ((struct mine *)ctx[1])->near;", before=MINE),
            facts(traced_task),
        ),
    ),
    Case(
        R.ACCESS_REFUSED,
        "family.parent may be null",
        Side(program("lsm/task_free", FAR, before=FAMILY), facts(family)),
        Side(program("lsm/task_free", NEAR, before=FAMILY), facts(family)),
        "null",
    ),
    Case(
        R.ACCESS_REFUSED,
        "does not ask whether that is null",
        Side(program("tc", "long *p = reserve(&rb, 8, 0); *p = 1; submit(p, 0); return 0;", RING)),
        Side(
            program(
                "tc", "long *p = reserve(&rb, 8, 0); if (!p) return 0; *p = 1; submit(p, 0); return 0;", RING
            )
        ),
        "unchecked",
    ),
    Case(
        R.ACCESS_REFUSED,
        "does not ask whether that is null",
        Side(
            program("tc", "int k = 0; return *(int *)bpf_map_lookup_elem(&one, &k);", ONE),
            facts(release=(6, 12)),
        ),
        Side(
            program("tc", "int k = 0; return *(int *)bpf_map_lookup_elem(&one, &k);", ONE),
            facts(release=(6, 14)),
        ),
        "elided",
    ),
    Case(
        R.RESULT_REFUSED,
        "it returns 2",
        Side(program("cgroup/connect4", "return 2;")),
        Side(program("cgroup/connect4", "return 1;")),
    ),
    Case(
        R.RESULT_REFUSED,
        "may return 0 to 1",
        Side(program("cgroup/bind4", "return 3;"), facts(release=(5, 10))),
        Side(program("cgroup/bind4", "return 3;"), facts(release=(6, 1))),
        "bind",
    ),
    Case(
        R.RESULT_REFUSED,
        "a callback returns 2",
        Side(program("tc", "return bpf_loop(4, two, ctx, 0);", CALLBACKS)),
        Side(program("tc", "return bpf_loop(4, none, ctx, 0);", CALLBACKS)),
        "callback",
    ),
    Case(
        R.HELD_REFUSED,
        "never gives back what bpf_ringbuf_reserve gives",
        Side(program("tc", "long *p = reserve(&rb, 8, 0); if (p) *p = 1; return 0;", RING)),
        Side(program("tc", "long *p = reserve(&rb, 8, 0); if (p) submit(p, 0); return 0;", RING)),
    ),
    Case(
        R.HELD_REFUSED,
        "never leaves bpf_spin_lock",
        Side(program("tc", LOCKED.format(""), LOCKS)),
        Side(program("tc", LOCKED.format("unlock(v);"), LOCKS)),
        "lock",
    ),
    Case(
        R.HELD_REFUSED,
        "calls a helper while it holds",
        Side(program("tc", LOCKED.format("v->n = bpf_ktime_get_ns(); unlock(v);"), LOCKS)),
        Side(program("tc", LOCKED.format("unlock(v); return bpf_ktime_get_ns();"), LOCKS)),
        "locked call",
    ),
    Case(
        R.HELD_REFUSED,
        "calls a function of its own",
        Side(program("tc", LOCKED.format("bump(v); unlock(v);"), LOCKS), facts(release=(6, 8))),
        Side(program("tc", LOCKED.format("bump(v); unlock(v);"), LOCKS), facts(release=(6, 9))),
        "own function",
    ),
    Case(
        R.LICENSE_REFUSED,
        "reads the kernel's structs",
        Side(program("tp_btf/sched_x", CLOSED, before=MINE), facts(traced_task, release=(6, 12))),
        Side(program("tp_btf/sched_x", CLOSED, before=MINE), facts(traced_task, release=(6, 1))),
        "typed pointer",
    ),
    Case(
        R.MAP_INVALID,
        "took no flag BPF_F_LINK yet",
        Side(LINKED, facts(ops("one"), release=(6, 1))),
        Side(STRUCT_OPS, facts(ops("one"), release=(6, 1))),
        "link",
    ),
    Case(
        R.KSYM_INCOMPATIBLE,
        "takes the address of a function",
        Side(GUARDED, facts(with_kfunc(), registrations=TC, release=(6, 1))),
        Side(GUARDED, facts(with_kfunc(), registrations=TC, release=(6, 8))),
        "function",
    ),
    Case(
        R.ACCESS_REFUSED,
        "it passes null as p0 of bpf_kfunc",
        Side(NULL_ARGUMENT, facts(with_kfunc(), registrations=TRUSTED)),
        Side(NULL_ARGUMENT, facts(with_kfunc(), registrations=TC)),
        "null argument",
    ),
    Case(
        R.CONTEXT_UNKNOWN,
        "8 bytes were added",
        Side(code(insn(0x07, 1, imm=8), insn(0x79, 0, 1), section="raw_tp/x"), facts(release=(7, 0))),
        Side(code(insn(0x79, 0, 1, 8), section="raw_tp/x"), facts(release=(7, 0))),
    ),
    Case(
        R.TOO_LARGE,
        "no kernel takes more than 1000000",
        Side(code(insn(0xB7) * 1_000_000)),
        Side(code(insn(0xB7) * 10)),
    ),
    Case(
        R.TOO_LARGE,
        "2 functions that call one another use",
        Side(program("tc", "char b[300]; use(b); return large(b);", LARGE)),
        Side(program("tc", "return large(ctx);", LARGE)),
        "stack",
    ),
    Case(
        H.PROTOTYPE_DIFFERS,
        "libbpf accepts",
        Side(STRONG, facts(with_kfunc(flavour="wider"), registrations=TC)),
        Side(STRONG, facts(with_kfunc(), registrations=TC)),
    ),
    Case(
        H.ATTACH_TARGET_MISSING,
        "attaching will fail",
        Side(program("kprobe/vfs_gone"), TRACED),
        Side(program("kprobe/vfs_read"), TRACED),
    ),
    Case(
        H.ATTACH_TARGET_MISSING,
        "btf_trace_gone is not in the BTF",
        Side(program("raw_tp/gone"), TRACED),
        Side(program("raw_tp/sched_x"), TRACED),
        "raw_tp",
    ),
    Case(
        H.ATTACH_TARGET_MISSING,
        "enum bpf_attach_type has no BPF_TCX_INGRESS",
        Side(program("tcx/ingress"), facts(release=(6, 1))),
        Side(program("tcx/ingress"), facts(release=(6, 12))),
        "attach type",
    ),
    Case(
        H.ASSUMED,
        "lockdown does not forbid LOCKDOWN_BPF_READ_KERNEL",
        Side(called(113, "raw_tp/x")),
        Side(called(113, "raw_tp/x"), on_host(replace(ROOT, lockdown="none"))),
    ),
    Case(
        H.APPLICATION_MUST_SET,
        "leaves max_entries of m open",
        Side(mapped("__uint(type, 1); __type(key, int); __type(value, int);")),
        Side(mapped(ARRAY)),
    ),
)
