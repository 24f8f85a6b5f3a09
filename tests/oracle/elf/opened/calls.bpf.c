// SPDX-License-Identifier: Apache-2.0
struct { __uint(type, 2); __uint(max_entries, 3); __type(key, int); __type(value, int); } map
    SEC(".maps");
int counter;
static __noinline int leaf(int x) { counter += x; return x * 3; }
static __noinline int middle(int x) { return leaf(x) + leaf(x + 1); }
__noinline int global_one(int x) { return middle(x) + bpf_get_prandom_u32(); }
__weak __noinline int weak_one(int x) { return leaf(x) ^ 5; }
__hidden __noinline int hidden_one(int x) { return weak_one(x); }
__noinline int never_called(int x) { return leaf(x); }
static long callback(void *m, void *k, void *v, void *c) { return leaf(*(int *)v); }
static long again(__u32 i, void *c) { return middle(i) > 100; }
__noinline long global_callback(__u32 i, void *c) { return leaf(i); }
SEC("socket") int first(void *ctx) { bpf_for_each_map_elem(&map, callback, 0, 0); return
    global_one(1) + hidden_one(2); }
SEC("socket") int second(void *ctx) { bpf_loop(3, again, 0, 0); bpf_loop(4, global_callback, 0, 0);
    return middle(3); }
SEC("?tc") int third(void *ctx) { return weak_one(4); }
SEC("xdp") int alone(void *ctx) { return 2; }
