// SPDX-License-Identifier: Apache-2.0
struct { __uint(type, 1); int key; } m SEC(".maps");
