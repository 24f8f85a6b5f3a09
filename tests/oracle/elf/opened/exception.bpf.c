// SPDX-License-Identifier: Apache-2.0
#define tagged(name) __attribute__((btf_decl_tag("exception_callback:" #name)))
extern void bpf_throw(__u64 cookie) __ksym;
__noinline int on_throw(__u64 cookie) { return cookie & 1; }
static __noinline int helper(int x) { return x + bpf_get_prandom_u32(); }
SEC("tc") tagged(on_throw) int thrower(void *ctx) { if (helper(2)) bpf_throw(3); return 1; }
SEC("tc") int plain(void *ctx) { return helper(1); }
