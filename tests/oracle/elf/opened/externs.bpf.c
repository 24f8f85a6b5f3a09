// SPDX-License-Identifier: Apache-2.0
extern bool CONFIG_BPF __kconfig;
extern int CONFIG_HZ __kconfig __weak;
extern char CONFIG_NET __kconfig;
extern enum libbpf_tristate CONFIG_DUMMY __kconfig __weak; extern __u64 CONFIG_BIG __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern unsigned LINUX_KERNEL_VERSION __kconfig;
extern bool LINUX_HAS_BPF_COOKIE __kconfig;
struct task_struct;
extern const void bpf_prog_active __ksym __weak; extern const int typed_weak __ksym __weak;
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym __weak;
extern void bpf_nothing___flavor(int a, __u64 b) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;
static __noinline int sub(int x) { if (bpf_ksym_exists(bpf_nothing___flavor))
    bpf_nothing___flavor(x, 2); return x; }
SEC("raw_tp/sys_enter") int prog(void *ctx) {
    bpf_rcu_read_lock();
    if (bpf_ksym_exists(bpf_task_acquire)) bpf_task_acquire(ctx);
    return CONFIG_BPF + CONFIG_HZ + CONFIG_NET + CONFIG_DUMMY + CONFIG_BIG +
    CONFIG_DEFAULT_HOSTNAME[0]
        + LINUX_KERNEL_VERSION + LINUX_HAS_BPF_COOKIE + (&bpf_prog_active != 0) + (&typed_weak != 0)
    + sub(CONFIG_HZ);
}
