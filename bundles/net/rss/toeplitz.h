/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Toeplitz hash by table look-up, half a byte of input at a time. */
#ifndef HOLDFAST_RSS_TOEPLITZ_H
#define HOLDFAST_RSS_TOEPLITZ_H

#include "types.h"

/*
 * What one byte of input adds to `hash`, by its two rows. In assembly, because clang keeps the values of so
 * many look-ups at once that the 512 bytes of stack do not suffice, and copies the table's address for each.
 * Bytes are read one by one, so their order in words does not matter.
 */
#define TOEPLITZ_BYTE(hash, rows, bytes, n)                                     \
	do {                                                                    \
		__u64 high_, low_;                                              \
		asm volatile("%[low] = *(u8 *)(%[from] + %[at])\n"              \
			     "%[high] = %[low]\n"                               \
			     "%[high] >>= 2\n"                                  \
			     "%[high] &= 60\n"                                  \
			     "%[high] += %[row]\n"                              \
			     "%[high] = *(u32 *)(%[high] + %[first])\n"         \
			     "%[low] &= 15\n"                                   \
			     "%[low] <<= 2\n"                                   \
			     "%[low] += %[row]\n"                               \
			     "%[low] = *(u32 *)(%[low] + %[second])\n"          \
			     "%[sum] ^= %[high]\n"                              \
			     "%[sum] ^= %[low]\n"                               \
			     : [sum] "+r"(hash), [low] "=&r"(low_), [high] "=&r"(high_) \
			     : [from] "r"(bytes), [row] "r"(rows), [at] "i"(n), \
			       [first] "i"(128 * (n)), [second] "i"(128 * (n) + 64) \
			     : "memory");                                       \
	} while (0)

#define TOEPLITZ_WORD(hash, rows, bytes, n)                  \
	do {                                                 \
		TOEPLITZ_BYTE(hash, rows, bytes, 4 * (n));     \
		TOEPLITZ_BYTE(hash, rows, bytes, 4 * (n) + 1); \
		TOEPLITZ_BYTE(hash, rows, bytes, 4 * (n) + 2); \
		TOEPLITZ_BYTE(hash, rows, bytes, 4 * (n) + 3); \
	} while (0)

/*
 * The hash of `in`; row[r][v] is the XOR of the 32-bit windows of the key at bit 4 * r + b for each bit
 * b that is set in v, the most significant bit being b = 0. All RSS_KEY_ROWS rows are there. 0 for no words.
 */
static __always_inline __u32 toeplitz(const __u32 (*rows)[16], const struct rss_input *in)
{
	const __be32 *bytes = in->word;
	__u64 hash = 0;

	if (!in->words)
		return 0;
	TOEPLITZ_WORD(hash, rows, bytes, 0);
	TOEPLITZ_WORD(hash, rows, bytes, 1);
	if (in->words == 2)
		return hash;
	TOEPLITZ_WORD(hash, rows, bytes, 2);
	if (in->words == 3)
		return hash;
	TOEPLITZ_WORD(hash, rows, bytes, 3);
	TOEPLITZ_WORD(hash, rows, bytes, 4);
	TOEPLITZ_WORD(hash, rows, bytes, 5);
	TOEPLITZ_WORD(hash, rows, bytes, 6);
	TOEPLITZ_WORD(hash, rows, bytes, 7);
	if (in->words == 8)
		return hash;
	TOEPLITZ_WORD(hash, rows, bytes, 8);
	return hash;
}

#endif
