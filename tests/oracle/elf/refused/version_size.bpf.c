// SPDX-License-Identifier: Apache-2.0
SEC("version") __u64 v = 5; SEC("socket") int prog(void *ctx) { return 0; }
