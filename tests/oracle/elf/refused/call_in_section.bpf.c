// SPDX-License-Identifier: Apache-2.0
SEC("tc") __noinline int one(int x) { return bpf_get_prandom_u32(); }
SEC("tc") int two(void *ctx) { return one(3); }
