// SPDX-License-Identifier: Apache-2.0
struct in { __uint(type, 1); };
struct in x;
struct { __uint(type, 12); __type(key, int); __array(values, struct in); } m SEC(".maps") = {
    .values = { &x } };
