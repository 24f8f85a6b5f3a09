// SPDX-License-Identifier: Apache-2.0
SEC("mine") int x = 3;
SEC("socket") int good(void *ctx) { return 0; }
SEC("?socket") int bad(void *ctx) { x++; return x; }
