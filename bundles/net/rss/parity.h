/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * As many low bits of the Toeplitz hash as an indirection table takes, by parities: each bit of the hash is
 * the parity of those bits of the input that the key picks. Masks of the key pick them for seven bits of
 * the hash in 35 AND and XOR, out of 280 bytes, where look-ups in tables by half a byte would be 72, out of
 * 4.6 KB. state.h tells what the masks are.
 */
#ifndef HOLDFAST_RSS_PARITY_H
#define HOLDFAST_RSS_PARITY_H

#include "state.h"

/* The input of a hash, cut as state.h says; what is above a word's bits does not matter. */
struct words {
	__u64 word[RSS_WORDS];
};

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define from_le64(x) (x)
#define from_le32(x) ((__u64)(x))
#define le16(x) ((__u16)(x))
#else
#define from_le64(x) __builtin_bswap64(x)
#define from_le32(x) ((__u64)__builtin_bswap32(x))
#define le16(x) __builtin_bswap16(x)
#endif

/* All of IPv4's input: addresses as 8 bytes, and ports. */
static __always_inline void cut_short(struct words *words, __u64 addresses, __u64 ports)
{
	words->word[0] = addresses;
	words->word[1] = addresses >> 56 | ports << 8;
}

/* All of IPv6's input: addresses as 8 bytes each, and ports. */
static __always_inline void cut_long(struct words *words, __u64 first, __u64 second, __u64 third, __u64 fourth,
				     __u64 ports)
{
	words->word[0] = first;
	words->word[1] = first >> 56 | second << 8;
	words->word[2] = (second >> 48 | third << 16) >> 2;
	words->word[3] = (third >> 40 | fourth << 24) >> 4;
	words->word[4] = (fourth >> 32 | ports << 32) >> 6;
}

/*
 * In assembly, because clang would load many masks before it uses them, and run out of registers. Each step
 * has a sum of its own before it meets the others, so that a processor need not do one after the other.
 */
#define PARITY_FIRST(sum, masks, number, at)                         \
	asm volatile("%[to] = *(u64 *)(%[from] + %[offset])\n"       \
		     "%[to] &= %[with]\n"                            \
		     : [to] "=&r"(sum)                               \
		     : [from] "r"(masks), [with] "r"(number), [offset] "i"(at) \
		     : "memory")

#define PARITY_NEXT(sum, masks, number, at)                                          \
	do {                                                                         \
		__u64 masked_;                                                       \
		asm volatile("%[one] = *(u64 *)(%[from] + %[offset])\n"              \
			     "%[one] &= %[with]\n"                                   \
			     "%[to] ^= %[one]\n"                                     \
			     : [to] "+r"(sum), [one] "=&r"(masked_)                  \
			     : [from] "r"(masks), [with] "r"(number), [offset] "i"(at) \
			     : "memory");                                            \
	} while (0)

#define PARITY_ROW(sum, masks, words, count, m)                                 \
	do {                                                                    \
		PARITY_FIRST(sum, masks, (words)->word[0], 8 * (m));            \
		PARITY_NEXT(sum, masks, (words)->word[1], 64 + 8 * (m));        \
		if ((count) > 2) {                                              \
			PARITY_NEXT(sum, masks, (words)->word[2], 128 + 8 * (m)); \
			PARITY_NEXT(sum, masks, (words)->word[3], 192 + 8 * (m)); \
			PARITY_NEXT(sum, masks, (words)->word[4], 256 + 8 * (m)); \
		}                                                               \
	} while (0)

/* Not in assembly, and yet not merged with others: 2 instructions. */
#define PARITY_SHIFT_ADD(sum, by, other) \
	do {                             \
		sum <<= by;              \
		sum ^= other;            \
		barrier_var(sum);        \
	} while (0)

/*
 * The low bits of the hash: bits 0 to 6, and 7 and 8 where `mask` asks for more than 127. `count` is a
 * constant: how many words there are, 2 or 5; those that are left out are 0.
 */
static __always_inline __u64 parity_hash(const struct rss_slot *slot, const struct words *words, int count, __u32 mask)
{
	__u64 high, low, sum;

	PARITY_ROW(high, slot->row, words, count, 6);
	PARITY_ROW(sum, slot->row, words, count, 5);
	PARITY_SHIFT_ADD(high, 1, sum);
	PARITY_ROW(sum, slot->row, words, count, 4);
	PARITY_SHIFT_ADD(high, 1, sum);
	PARITY_ROW(low, slot->row, words, count, 3);
	PARITY_ROW(sum, slot->row, words, count, 2);
	PARITY_SHIFT_ADD(low, 1, sum);
	PARITY_ROW(sum, slot->row, words, count, 1);
	PARITY_SHIFT_ADD(low, 1, sum);
	PARITY_ROW(sum, slot->row, words, count, 0);
	PARITY_SHIFT_ADD(low, 1, sum);
	low ^= high << 4;
	/* Every seventh bit belongs together, up to bit 63. What is wrong above does not come down. */
	low ^= low >> 56;
	low ^= low >> 28;
	low ^= low >> 14;
	low ^= low >> 7;
	if (mask < 128)
		return low;

	low &= 127;
	PARITY_FIRST(high, slot->wide, words->word[0], 0);
	PARITY_NEXT(high, slot->wide, words->word[1], 8);
	if (count > 2) {
		PARITY_NEXT(high, slot->wide, words->word[2], 16);
		PARITY_NEXT(high, slot->wide, words->word[3], 24);
		PARITY_NEXT(high, slot->wide, words->word[4], 32);
	}
	PARITY_ROW(sum, slot->row, words, count, 7);
	high = high << 1 ^ sum;
	high ^= high >> 32;
	high ^= high >> 16;
	high ^= high >> 8;
	high ^= high >> 4;
	high ^= high >> 2;
	return (high & 3) << 7 | low;
}

/* The queue of a packet with this input. */
static __always_inline __u32 queue_by(const struct rss_slot *slot, const struct words *words, int count)
{
	__u32 mask = slot->table_mask;

	return slot->queue[parity_hash(slot, words, count, mask) & mask & (RSS_TABLE_LEN - 1)];
}

#endif
