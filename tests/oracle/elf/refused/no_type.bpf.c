// SPDX-License-Identifier: Apache-2.0
struct { __uint(max_entries, 2); } m SEC(".maps");
