// SPDX-License-Identifier: Apache-2.0
extern int nowhere; SEC("socket") int prog(void *ctx) { return nowhere; }
