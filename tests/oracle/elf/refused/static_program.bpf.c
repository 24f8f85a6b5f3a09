// SPDX-License-Identifier: Apache-2.0
SEC("socket") static int prog(void *ctx) { return 0; }
