// SPDX-License-Identifier: Apache-2.0
/* Counts TCP connections by process. Small enough to need no header at all. */
#define SEC(name) __attribute__((section(name), used))

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

static struct task_struct *(*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_kernel)(void *dst, unsigned size, const void *from) = (void *)113;
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, unsigned long long flags) = (void *)2;

struct {
	int (*type)[1]; /* BPF_MAP_TYPE_HASH */
	int (*max_entries)[4096];
	int *key;
	unsigned long long *value;
} connections SEC(".maps");

SEC("kprobe/tcp_v4_connect")
int count(void *ctx)
{
	unsigned long long one = 1, *seen;
	int tgid = 0;

	bpf_probe_read_kernel(&tgid, sizeof(tgid), &bpf_get_current_task()->tgid);
	seen = bpf_map_lookup_elem(&connections, &tgid);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&connections, &tgid, &one, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
