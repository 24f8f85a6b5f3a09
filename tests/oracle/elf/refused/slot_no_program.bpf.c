// SPDX-License-Identifier: Apache-2.0
int sub(void *c) { return 1; }
struct { __uint(type, 3); __uint(key_size, 4); __array(values, int (void *)); } m SEC(".maps") = {
    .values = { &sub } };
SEC("socket") int p(void *c) { return 0; }
