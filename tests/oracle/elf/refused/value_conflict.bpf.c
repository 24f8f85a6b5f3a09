// SPDX-License-Identifier: Apache-2.0
struct { __uint(type, 1); __uint(value_size, 8); __type(value, int); } m SEC(".maps");
