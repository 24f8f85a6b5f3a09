// SPDX-License-Identifier: Apache-2.0
extern int CONFIG_X(void) __kconfig; SEC("socket") int prog(void *ctx) { return CONFIG_X(); }
