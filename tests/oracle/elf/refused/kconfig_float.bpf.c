// SPDX-License-Identifier: Apache-2.0
extern __u32 CONFIG_X[2] __kconfig; SEC("socket") int prog(void *ctx) { return CONFIG_X[1]; }
