// SPDX-License-Identifier: Apache-2.0
struct in { __uint(type, 12); __array(values, struct { __uint(type, 1); }); };
struct { __uint(type, 12); __array(values, struct in); } m SEC(".maps");
