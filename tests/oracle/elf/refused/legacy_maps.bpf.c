// SPDX-License-Identifier: Apache-2.0
struct bpf_map_def { __u32 type, key_size, value_size, max_entries, map_flags; };
SEC("maps") struct bpf_map_def old = { 2, 4, 8, 16, 0 };
SEC("socket") int prog(void *ctx) { int k = 0; return !!bpf_map_lookup_elem(&old, &k); }
