// SPDX-License-Identifier: Apache-2.0
extern int x __attribute__((section(".other"))); SEC("socket") int prog(void *ctx) { return x; }
