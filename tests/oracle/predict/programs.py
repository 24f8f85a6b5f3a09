# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - each program on its line reads better than wrapped
"""Small programs, each about one rule, for a comparison of verdicts with real loads."""

from __future__ import annotations

__all__ = ["PROGRAMS"]


def tc(body: str, before: str = "", section: str = "tc") -> str:
    return f'{before}\nSEC("{section}") int prog(__u64 *ctx) {{ {body} }}'


TASK = "struct task_struct { int pid; int gone; struct task_struct *group_leader; } __core;\n"
OLD = "struct task_struct___old { long state; } __core;\n"
LOCK = "extern void bpf_rcu_read_lock(void) __ksym{0};\nextern void bpf_rcu_read_unlock(void) __ksym{0};\n"
NONE = "extern void bpf_no_such_kfunc(int x) __ksym __weak;\n"
BTF_TASK = "struct task_struct *bpf_get_current_task_btf_(void);\n"
NOW = "((struct task_struct *(*)(void))158)()"  # bpf_get_current_task_btf


def a_map(
    kind: int, more: str, body: str = "return !!bpf_map_lookup_elem(&m, &key);", section: str = "tc"
) -> str:
    return tc(f"int key = 0; {body}", f'struct {{ __uint(type, {kind}); {more} }} m SEC(".maps");', section)


KV = "__type(key, int); __type(value, long); "
ONE = KV + "__uint(max_entries, 1); "
LOOKUP = "return !!bpf_map_lookup_elem(&m, &key);"
NOTHING = "return (long)&m & 1;"

PROGRAMS = {
    # kfuncs
    "kfunc_strong": tc("bpf_rcu_read_lock(); bpf_rcu_read_unlock(); return 0;", LOCK.format("")),
    "kfunc_weak_there_unguarded": tc("bpf_rcu_read_lock(); bpf_rcu_read_unlock(); return 0;", LOCK.format(" __weak")),
    "kfunc_strong_missing": tc("bpf_no_such_kfunc(1); return 0;", NONE.replace(" __weak", "")),
    "kfunc_weak_missing_unguarded": tc("bpf_no_such_kfunc(1); return 0;", NONE),
    "kfunc_weak_missing_guarded": tc("if (bpf_ksym_exists(bpf_no_such_kfunc)) bpf_no_such_kfunc(1); return 0;", NONE),
    "kfunc_weak_missing_guard_inverted": tc("if (!bpf_no_such_kfunc) return 1; bpf_no_such_kfunc(1); return 0;", NONE),
    "kfunc_weak_missing_in_sub": tc(
        "return sub(ctx[0]);",
        NONE + "static __noinline int sub(int x) { if (bpf_no_such_kfunc) bpf_no_such_kfunc(x); return x; }",
        "raw_tp/sys_enter",
    ),
    "kfunc_weak_missing_half_guarded": tc(
        "if (bpf_ksym_exists(bpf_no_such_kfunc)) bpf_no_such_kfunc(1); bpf_no_such_kfunc(2); return 0;", NONE
    ),
    "kfunc_flavour": tc(
        "if (bpf_ksym_exists(bpf_rcu_read_lock___x)) { bpf_rcu_read_lock___x(); bpf_rcu_read_unlock(); } return 0;",
        "extern void bpf_rcu_read_lock___x(void) __ksym __weak;\nextern void bpf_rcu_read_unlock(void) __ksym;\n",
    ),
    "kfunc_strong_incompatible": tc(
        "bpf_rcu_read_lock(1); return 0;", "extern void bpf_rcu_read_lock(int x) __ksym;\n"
    ),
    "kfunc_weak_incompatible_guarded": tc(
        "if (bpf_ksym_exists(bpf_rcu_read_lock)) bpf_rcu_read_lock(1); return 0;",
        "extern void bpf_rcu_read_lock(int x) __ksym __weak;\n",
    ),
    "kfunc_weak_incompatible_unguarded": tc(
        "bpf_rcu_read_lock(1); return 0;", "extern void bpf_rcu_read_lock(int x) __ksym __weak;\n"
    ),
    "kfunc_no_kfunc": tc("vfs_no(); return 0;", "extern void vfs_no(void) __ksym;\n"),
    "kfunc_plain_function": tc("schedule(); return 0;", "extern void schedule(void) __ksym;\n"),
    "kfunc_other_type": tc(
        "return bpf_xdp_metadata_rx_timestamp(ctx, ctx);",
        "struct xdp_md; extern int bpf_xdp_metadata_rx_timestamp(const void *c, __u64 *t) __ksym;\n",
    ),
    # kernel symbols
    "ksym_untyped": tc("return (long)&bpf_prog_put & 1;", "extern const void bpf_prog_put __ksym;\n"),
    "ksym_untyped_missing": tc("return (long)&no_such_thing & 1;", "extern const void no_such_thing __ksym;\n"),
    "ksym_untyped_missing_weak": tc("return &no_such_thing ? 1 : 0;", "extern const void no_such_thing __ksym __weak;\n"),
    "ksym_typed": tc("return bpf_prog_active;", "extern const int bpf_prog_active __ksym;\n", "raw_tp/sys_enter"),
    "ksym_typed_missing": tc("return no_such_variable;", "extern const int no_such_variable __ksym;\n"),
    "ksym_typed_incompatible": tc(
        "return (long)&bpf_prog_active & 1;", "struct s { int x; }; extern const struct s bpf_prog_active __ksym __weak;\n"
    ),
    # CO-RE
    "core_there": tc(f"return {NOW}->pid;", TASK, "raw_tp/sys_enter"),
    "core_missing": tc(f"return {NOW}->gone;", TASK, "raw_tp/sys_enter"),
    "core_missing_guarded": tc(
        f"struct task_struct *t = {NOW}; return bpf_core_field_exists(t->gone) ? t->gone : t->pid;",
        TASK, "raw_tp/sys_enter",
    ),
    "core_missing_guard_inverted": tc(
        f"struct task_struct *t = {NOW}; if (!bpf_core_field_exists(t->gone)) return t->gone; return 0;",
        TASK, "raw_tp/sys_enter",
    ),
    "core_missing_in_dead_global": tc(
        "return 0;", TASK + "__noinline int never(struct task_struct *t) { return t ? t->gone : 0; }", "raw_tp/sys_enter"
    ),
    "core_flavour": tc(
        f"struct task_struct *t = {NOW}; struct task_struct___old *o = (void *)t;"
        "return bpf_core_field_exists(o->state) ? o->state : t->pid;",
        TASK + OLD, "raw_tp/sys_enter",
    ),
    "core_flavour_unguarded": tc(
        f"struct task_struct___old *o = (void *){NOW}; return o->state;", TASK + OLD, "raw_tp/sys_enter"
    ),
    "core_type_missing": tc("return bpf_core_type_size(struct no_such_struct);", "struct no_such_struct { int x; } __core;\n"),
    "core_type_id_missing": tc("return bpf_core_type_id_kernel(struct no_such_struct);", "struct no_such_struct { int x; };\n"),
    "core_enum_there": tc(
        "return bpf_core_enum_value(enum bpf_prog_type, BPF_PROG_TYPE_XDP);", "enum bpf_prog_type { BPF_PROG_TYPE_XDP = 77 };\n"
    ),
    "core_enum_missing": tc(
        "return bpf_core_enum_value(enum bpf_prog_type, BPF_PROG_TYPE_NO);", "enum bpf_prog_type { BPF_PROG_TYPE_NO = 77 };\n"
    ),
    # kconfig
    "kconfig_strong": tc("return CONFIG_HZ;", "extern int CONFIG_HZ __kconfig;\n"),
    "kconfig_missing": tc("return CONFIG_NO_SUCH_THING;", "extern bool CONFIG_NO_SUCH_THING __kconfig;\n"),
    "kconfig_missing_weak": tc(
        "if (CONFIG_NO_SUCH_THING) return ((long (*)(void))5000)(); return 0;",
        "extern bool CONFIG_NO_SUCH_THING __kconfig __weak;\n",
    ),
    "kconfig_guard_open": tc(
        "if (CONFIG_BPF_SYSCALL) return ((long (*)(void))5000)(); return 0;", "extern bool CONFIG_BPF_SYSCALL __kconfig;\n"
    ),
    "kconfig_version_old": tc(
        "if (LINUX_KERNEL_VERSION < 0x40000) return ((long (*)(void))5000)(); return 0;",
        "extern unsigned LINUX_KERNEL_VERSION __kconfig;\n",
    ),
    "kconfig_version_new": tc(
        "if (LINUX_KERNEL_VERSION > 0x40000) return ((long (*)(void))5000)(); return 0;",
        "extern unsigned LINUX_KERNEL_VERSION __kconfig;\n",
    ),
    "kconfig_cookie": tc(
        "if (!LINUX_HAS_BPF_COOKIE) return ((long (*)(void))5000)(); return 0;", "extern bool LINUX_HAS_BPF_COOKIE __kconfig;\n"
    ),
    "kconfig_wrapper": tc(
        "if (!LINUX_HAS_SYSCALL_WRAPPER) return ((long (*)(void))5000)(); return 0;",
        "extern bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;\n",
    ),
    "kconfig_made_up": tc("return LINUX_MADE_UP;", "extern int LINUX_MADE_UP __kconfig;\n"),
    "kconfig_tristate": tc(
        "if (CONFIG_NET == TRI_MODULE) return ((long (*)(void))5000)(); return 0;",
        "extern enum libbpf_tristate CONFIG_NET __kconfig __weak;\n",
    ),
    "kconfig_char": tc(
        "if (CONFIG_NET != 'y') return ((long (*)(void))5000)(); return 0;", "extern char CONFIG_NET __kconfig __weak;\n"
    ),
    "kconfig_int_of_y": tc("return CONFIG_NET;", "extern int CONFIG_NET __kconfig __weak;\n"),
    "kconfig_bool_of_number": tc("return CONFIG_HZ;", "extern bool CONFIG_HZ __kconfig __weak;\n"),
    "kconfig_char_of_number": tc("return CONFIG_HZ;", "extern unsigned char CONFIG_HZ __kconfig __weak;\n"),
    "kconfig_other_name": tc("return SOMETHING;", "extern int SOMETHING __kconfig __weak;\n"),
    "kconfig_version_in_short": tc("return LINUX_KERNEL_VERSION;", "extern short LINUX_KERNEL_VERSION __kconfig;\n"),
    "kconfig_version_in_bool": tc("return LINUX_KERNEL_VERSION;", "extern bool LINUX_KERNEL_VERSION __kconfig;\n"),
    "kconfig_text": tc("return CONFIG_DEFAULT_HOSTNAME[0];", "extern char CONFIG_DEFAULT_HOSTNAME[4] __kconfig __weak;\n"),
    "kconfig_text_in_int": tc("return CONFIG_DEFAULT_HOSTNAME;", "extern int CONFIG_DEFAULT_HOSTNAME __kconfig __weak;\n"),
    # constants
    "rodata_guard_closed": tc("return on ? ((long (*)(void))5000)() : 0;", "const volatile bool on = 0;\n"),
    "rodata_guard_open": tc("return on ? ((long (*)(void))5000)() : 0;", "const volatile bool on = 1;\n"),
    "data_is_no_guard": tc("return on ? ((long (*)(void))5000)() : 0;", "bool on = 0;\n"),
    # helpers
    "helper_unknown": tc("return ((long (*)(void))5000)();"),
    "helper_of_other_type": tc("return ((long (*)(void *, int))44)(ctx, 0);"),  # bpf_xdp_adjust_head
    "helper_of_this_type": tc("return ((long (*)(void *, int))44)(ctx, 0);", section="xdp"),
    "helper_dead": tc("return 0; ((long (*)(void))5000)();"),
    "helper_sleepable_only": tc("char b[8]; return ((long (*)(void *, int, void *))148)(b, 8, ctx);"),  # copy_from_user
    "helper_sleepable": tc(
        "char b[8]; return ((long (*)(void *, int, void *))148)(b, 8, (void *)8);", section="syscall"
    ),
    "subprogram_static_unused_helper": tc(
        "return ctx ? 0 : sub(1);", "static __noinline int sub(int x) { return x + ((long (*)(void))5000)(); }"
    ),
    "subprogram_global_never_called": tc(
        "return on ? sub(1) : 0;",
        "const volatile bool on = 0;\n__noinline int sub(int x) { return x + ((long (*)(void))5000)(); }",
    ),
    "callback": tc(
        "((long (*)(int, void *, void *, __u64))181)(4, each, 0, 0); return 0;",
        "static long each(__u32 i, void *c) { return ((long (*)(void))5000)(); }",
    ),
    # maps
    "map_array": a_map(2, ONE),
    "map_array_long_key": a_map(2, "__type(key, long); __type(value, long); __uint(max_entries, 1);", NOTHING),
    "map_array_no_entries": a_map(2, KV, NOTHING),
    "map_hash_no_value": a_map(1, "__type(key, int); __uint(max_entries, 1);", NOTHING),
    "map_hash_no_prealloc": a_map(1, ONE + "__uint(map_flags, 1);"),
    "map_array_no_prealloc": a_map(2, ONE + "__uint(map_flags, 1);"),
    "map_array_mmapable": a_map(2, ONE + "__uint(map_flags, 1024);"),
    "map_hash_mmapable": a_map(1, ONE + "__uint(map_flags, 1024);"),
    "map_lru": a_map(9, ONE),
    "map_lru_no_prealloc": a_map(9, ONE + "__uint(map_flags, 1);"),
    "map_lpm": a_map(11, "__type(key, long); __type(value, int); __uint(max_entries, 1); __uint(map_flags, 1);", NOTHING),
    "map_lpm_prealloc": a_map(11, "__type(key, long); __type(value, int); __uint(max_entries, 1);", NOTHING),
    "map_ring": a_map(27, "__uint(max_entries, 4096);", NOTHING),
    "map_ring_odd": a_map(27, "__uint(max_entries, 5000);", NOTHING),
    "map_ring_with_key": a_map(27, "__type(key, int); __uint(max_entries, 4096);", NOTHING),
    "map_queue": a_map(22, "__type(value, int); __uint(max_entries, 4);", NOTHING),
    "map_queue_with_key": a_map(22, ONE, NOTHING),
    "map_bloom": a_map(30, "__type(value, int); __uint(max_entries, 4); __uint(map_extra, 3);", NOTHING),
    "map_stack_trace": a_map(7, "__uint(key_size, 4); __uint(value_size, 64); __uint(max_entries, 4);", NOTHING),
    "map_stack_trace_unsized": a_map(7, "__uint(key_size, 4); __uint(max_entries, 4);", NOTHING),
    "map_perf": a_map(4, "__uint(key_size, 4); __uint(value_size, 4);", NOTHING),
    "map_sk_storage": a_map(24, KV + "__uint(map_flags, 1);", NOTHING),
    "map_sk_storage_prealloc": a_map(24, KV, NOTHING),
    "map_sk_storage_entries": a_map(24, ONE + "__uint(map_flags, 1);", NOTHING),
    "map_task_storage": a_map(29, KV + "__uint(map_flags, 1);", NOTHING),
    "map_outer": a_map(12, f"__uint(max_entries, 2); __type(key, int); __array(values, struct {{ __uint(type, 2); {ONE} }});"),
    "map_outer_bare": a_map(12, "__uint(max_entries, 2); __type(key, int); __uint(value_size, 4);", NOTHING),
    "map_outer_of_prog_array": a_map(
        12,
        "__uint(max_entries, 2); __type(key, int); __array(values, struct { __uint(type, 3); __uint(key_size, 4); "
        "__uint(value_size, 4); __uint(max_entries, 2); });",
        NOTHING,
    ),
    "map_devmap": a_map(14, "__uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 4);", NOTHING),
    "map_devmap_8": a_map(14, "__uint(key_size, 4); __uint(value_size, 8); __uint(max_entries, 4);", NOTHING),
    "map_devmap_16": a_map(14, "__uint(key_size, 4); __uint(value_size, 16); __uint(max_entries, 4);", NOTHING),
    "map_xsk": a_map(17, "__uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 4);", NOTHING),
    "map_sock": a_map(15, "__uint(key_size, 4); __uint(value_size, 8); __uint(max_entries, 4);", NOTHING),
    "map_cgroup_storage": a_map(19, "__uint(key_size, 8); __uint(value_size, 8);", NOTHING),
    "map_future": a_map(99, ONE, NOTHING),
    "map_unknown_flag": a_map(2, ONE + "__uint(map_flags, 0x800000);", NOTHING),
    "map_spin_lock": tc(
        "int k = 0; struct v *v = bpf_map_lookup_elem(&m, &k); if (v) { ((long (*)(void *))93)(&v->l); v->x++; "
        "((long (*)(void *))94)(&v->l); } return 0;",
        "struct bpf_spin_lock { __u32 val; }; struct v { struct bpf_spin_lock l; int x; };\n"
        'struct { __uint(type, 1); __type(key, int); __type(value, struct v); __uint(max_entries, 1); } m SEC(".maps");',
    ),
    "map_spin_lock_in_lru": tc(
        NOTHING,
        "struct bpf_spin_lock { __u32 val; }; struct v { struct bpf_spin_lock l; int x; };\n"
        'struct { __uint(type, 9); __type(key, int); __type(value, struct v); __uint(max_entries, 1); } m SEC(".maps");',
    ),
    # program types
    **{
        f"section_{name.replace('/', '_').replace('.', '_')}": tc("return 1;", section=name)
        for name in (
            "socket", "xdp", "xdp.frags", "xdp/devmap", "xdp/cpumap", "tc", "tcx/ingress", "netkit/peer", "action",
            "classifier", "raw_tp/sys_enter", "raw_tp.w/sys_enter", "tp/sched/sched_switch", "kprobe/x", "kprobe.multi/x",
            "kprobe.session/x", "uprobe.multi/x:y", "uprobe.s//bin/sh:x", "ksyscall/open", "usdt/a:b:c", "perf_event",
            "lwt_in", "lwt_xmit", "lwt_seg6local", "sockops", "sk_skb", "sk_skb/verdict", "sk_msg", "sk_lookup",
            "sk_reuseport", "sk_reuseport/migrate", "flow_dissector", "cgroup_skb/ingress", "cgroup/skb", "cgroup/dev",
            "cgroup/sock_create", "cgroup/bind4", "cgroup/connect6", "cgroup/connect_unix", "cgroup/sysctl",
            "cgroup/getsockopt", "cgroup/recvmsg4", "lirc_mode2", "syscall", "netfilter", "struct_ops", "freplace/x",
            "tp_btf/sched_switch", "tp_btf/no_such", "fentry/vfs_read", "fentry/no_such", "fentry", "fexit/vfs_read",
            "fmod_ret/vfs_read", "fmod_ret/bpf_modify_return_test", "fentry.s/vfs_read", "lsm/file_open", "lsm/no_such",
            "lsm_cgroup/socket_bind", "iter/task", "iter.s/task", "iter/no_such", "iter/bpf_map", "fsession/vfs_read",
            "nothing", "dispatcher/x",
        )
    },
    # arguments
    "tp_btf_argument": tc("return ctx[3] & 1;", section="tp_btf/sched_switch"),
    "tp_btf_argument_beyond": tc("return ctx[9] & 1;", section="tp_btf/sched_switch"),
    "raw_tp_argument": tc("return ctx[3] & 1;", section="raw_tp/sched_switch"),
    # instructions
    "atomic_fetch": tc("return __sync_fetch_and_or(&x, 1);", "__u64 x;"),
    "atomic_xchg": tc("return __sync_lock_test_and_set(&x, 1);", "__u64 x;"),
    "tail_call": tc(
        "bpf_tail_call(ctx, &m, 1); return 0;",
        'struct { __uint(type, 3); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 2); } m SEC(".maps");',
    ),
    "tail_call_with_subprogram": tc(
        "bpf_tail_call(ctx, &m, 1); return sub(2);",
        'struct { __uint(type, 3); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 2); } m SEC(".maps");\n'
        "static __noinline int sub(int x) { return x + bpf_get_prandom_u32(); }",
    ),
    "bounded_loop": tc("int s = 0; for (int i = 0; i < 50; i++) s += bpf_get_prandom_u32() & 3; return s;"),
    # refused by libbpf
    "static_program": 'SEC("tc") static int prog(void *ctx) { return 0; }',
    "bad_relocation": 'SEC("mine") int x = 3; SEC("tc") int prog(void *ctx) { x++; return x; }',
}  # fmt: skip
