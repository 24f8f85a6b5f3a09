// SPDX-License-Identifier: Apache-2.0
struct { __uint(type, 1); __uint(colour, 2); } m SEC(".maps");
