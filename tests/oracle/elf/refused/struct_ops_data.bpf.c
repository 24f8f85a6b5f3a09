// SPDX-License-Identifier: Apache-2.0
struct o { void *f; }; int x = 3; SEC(".struct_ops") struct o ops = { .f = &x };
