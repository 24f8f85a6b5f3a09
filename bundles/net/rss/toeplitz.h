/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Toeplitz hash by table look-up, half a byte of input at a time. */
#ifndef HOLDFAST_RSS_TOEPLITZ_H
#define HOLDFAST_RSS_TOEPLITZ_H

#include "types.h"

/*
 * The hash of `in`; row[r][v] is the XOR of the 32-bit windows of the key at bit 4 * r + b for each bit
 * b that is set in v, the most significant bit being b = 0. All RSS_KEY_ROWS rows are there.
 */
static __always_inline __u32 toeplitz(const __u32 (*rows)[16], const struct rss_input *in)
{
	__u32 hash = 0;

	/*
	 * Rolled on purpose: 72 look-ups in a row make clang keep so many values at once that the
	 * 512 bytes of stack do not suffice.
	 */
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < RSS_INPUT_WORDS; i++) {
		const __u32(*row)[16];
		__u64 w;

		if (i >= in->words)
			break;
		row = &rows[8 * i];
		w = bpf_ntohl(in->word[i]);
		/* The verifier forgets a value's range in a byte swap: keep the mask after >> 28. */
		barrier_var(w);
		hash ^= row[0][(w >> 28) & 15];
		hash ^= row[1][(w >> 24) & 15];
		hash ^= row[2][(w >> 20) & 15];
		hash ^= row[3][(w >> 16) & 15];
		hash ^= row[4][(w >> 12) & 15];
		hash ^= row[5][(w >> 8) & 15];
		hash ^= row[6][(w >> 4) & 15];
		hash ^= row[7][w & 15];
	}
	return hash;
}

#endif
