// SPDX-License-Identifier: Apache-2.0
struct nowhere; struct { __uint(type, 1); struct nowhere *key; } m SEC(".maps");
