// SPDX-License-Identifier: Apache-2.0
struct { __uint(type, 1); __uint(max_entries, 2); __type(key, int); __type(value, int); } m
    SEC(".maps");
