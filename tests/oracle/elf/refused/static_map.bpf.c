// SPDX-License-Identifier: Apache-2.0
static struct { __uint(type, 1); __uint(max_entries, 2); } m SEC(".maps");
SEC("socket") int prog(void *ctx) { return !!bpf_map_lookup_elem(&m, ctx); }
