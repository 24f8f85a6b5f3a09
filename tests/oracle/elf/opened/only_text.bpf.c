// SPDX-License-Identifier: Apache-2.0
int lonely(void *ctx) { return 1; }
