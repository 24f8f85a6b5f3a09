// SPDX-License-Identifier: Apache-2.0
struct in { __uint(type, 1); __uint(max_entries, 1); __type(key, int); __type(value, int); };
struct in one SEC(".maps");
struct { __uint(type, 13); __type(key, __u64); __array(values, struct in); } m SEC(".maps") = {
    .values = { &one } };
