// SPDX-License-Identifier: Apache-2.0
struct in { __uint(type, 1); __uint(pinning, 1); };
struct { __uint(type, 12); __array(values, struct in); } m SEC(".maps");
