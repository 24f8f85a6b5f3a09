// SPDX-License-Identifier: Apache-2.0
struct { __uint(type, 1); __uint(key_size, 8); __type(key, int); } m SEC(".maps");
