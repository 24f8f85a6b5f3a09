// SPDX-License-Identifier: Apache-2.0
SEC(".struct_ops") struct { int a; } ops = { 1 };
