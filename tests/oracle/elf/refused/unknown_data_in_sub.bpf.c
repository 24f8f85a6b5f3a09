// SPDX-License-Identifier: Apache-2.0
SEC("mine") int x = 3;
__noinline int sub(void) { x++; return x; }
SEC("socket") int good(void *ctx) { return 0; }
