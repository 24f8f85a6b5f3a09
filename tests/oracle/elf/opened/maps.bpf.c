// SPDX-License-Identifier: Apache-2.0
struct key { __u32 a; __u64 b; __u8 c[3]; };
typedef struct { __u64 x[2]; const volatile __u16 y; } value_t;
enum small { ONE = 1 };
struct inner_t { __uint(type, 2); __uint(max_entries, 4); __uint(map_flags, 4096);
    __type(key, __u32); __type(value, struct key); };
struct { __uint(type, 1); __uint(max_entries, 10); __type(key, struct key); __type(value, value_t);
    } hash SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 10); __uint(key_size, 12); __uint(value_size, 7); }
    sizes SEC(".maps");
struct { __uint(type, 1); __uint(key_size, 4); __type(key, enum small); __type(value, struct key *);
    __uint(value_size, 8); __uint(max_entries, 1); } both SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 0); } ring SEC(".maps");
struct { __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 3); __type(key, int); __type(value, int);
    __uint(pinning, 1);
    __uint(numa_node, 1); __uint(map_flags, 4); } pinned SEC(".maps");
struct { __uint(type, 30); __uint(max_entries, 5); __type(value, __u64); __ulong(map_extra, 3); }
    bloom SEC(".maps");
struct { __uint(type, 30); __uint(max_entries, 5); __type(value, __u64); __uint(map_extra, 4); }
    bloom2 SEC(".maps");
struct inner_t one SEC(".maps"), two SEC(".maps");
struct { __uint(type, 12); __uint(max_entries, 4); __type(key, __u32); __array(values, struct
    inner_t); }
    outer SEC(".maps") = { .values = { [1] = &one, [3] = &two } };
struct { __uint(type, 13); __uint(max_entries, 2); __type(key, __u32);
    __array(values, struct { __uint(type, 1); __uint(max_entries, 2); __type(key, __u64);
    __type(value, __u8); }); }
    hash_outer SEC(".maps");
struct { __uint(type, 12); __uint(max_entries, 2); __type(key, __u32); __uint(value_size, 4); }
    bare_outer SEC(".maps");
int tail(void *ctx);
struct { __uint(type, 3); __uint(max_entries, 5); __uint(key_size, 4); __array(values, int (void
    *)); }
    jumps SEC(".maps") = { .values = { [2] = (void *)&tail, [4] = (void *)&tail } };
struct { __uint(type, 3); __uint(max_entries, 5); __uint(key_size, 4); __uint(value_size, 4); }
    bare_jumps SEC(".maps");
struct { __uint(type, 29); __uint(map_flags, 1); __type(key, int); __type(value, struct key); }
    storage SEC(".maps");
struct { __uint(type, 7); __uint(key_size, 4); __uint(max_entries, 8); } stacks SEC(".maps");
struct { __uint(type, 222); __uint(max_entries, 8); } future SEC(".maps");
SEC("socket") int tail(void *ctx) { return 0; }
SEC("socket") int prog(void *ctx) {
    __u32 k = 0; struct key s = {};
    void *p = bpf_map_lookup_elem(&outer, &k);
    bpf_tail_call(ctx, &jumps, 1);
    return !!bpf_map_lookup_elem(&hash, &s) + !!bpf_map_lookup_elem(&pinned, &k) + !!p;
}
