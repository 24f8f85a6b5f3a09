// SPDX-License-Identifier: Apache-2.0
struct s { int a; };
extern struct s CONFIG_X __kconfig;
SEC("socket") int prog(void *ctx) { return CONFIG_X.a; }
