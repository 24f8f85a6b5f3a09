// SPDX-License-Identifier: Apache-2.0
struct o { int (*f)(void *c); };
SEC("tc") int f(void *ctx) { return 0; } SEC(".struct_ops") struct o ops = { .f = (void *)f };
