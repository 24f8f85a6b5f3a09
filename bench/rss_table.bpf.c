// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Steering with everything in one map, and with tables where the bundle has masks: how much that matters. Built
 * by the bench with -DBITS=4, 8, or 7 for tables of 6 and 7 bits, two bytes an entry, or 1 for the masks. With 1
 * and with -DFAST_ONLY no packets are hashed but those that most packets are, so that many copies are loaded in
 * no time. Headers are read by helper. Not for use: its settings cannot change while it runs.
 */
#include "types.h"

struct packet {
	struct __sk_buff *skb;
};

static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	*at = buffer;
	return !bpf_skb_load_bytes(packet->skb, offset, buffer, size);
}

#include "classify.h"
#include "toeplitz.h"

#if BITS == 1
#define LOOK_CLOSER (-1)
#include "parity.h"
#include "first_helpers.h"

struct rss_slot settings;

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct packet packet = { .skb = skb };

	return first_queue(&packet, &settings);
}
#else
#if BITS == 8
typedef __u32 rows_t[36][256];
#elif BITS == 7
typedef __u16 rows_t[9][448];
#else
typedef __u32 rows_t[72][16];
#endif

struct {
	__u32 hash_types;
	__u32 table_mask;
	__u32 unclassified;
	__u32 zero;
	__u16 queue[512];
	rows_t rows;
} settings;

#define BYTE8(sum, rows, from, n)                                                                  \
	do {                                                                                       \
		__u64 value_;                                                                      \
		asm volatile("%[value] = *(u8 *)(%[bytes] + %[at])\n"                              \
			     "%[value] <<= 2\n"                                                    \
			     "%[value] += %[row]\n"                                                \
			     "%[value] = *(u32 *)(%[value] + %[off])\n"                            \
			     "%[hash] ^= %[value]\n"                                               \
			     : [hash] "+r"(sum), [value] "=&r"(value_)                             \
			     : [bytes] "r"(from), [row] "r"(rows), [at] "i"(n), [off] "i"((n) % 18 * 1024) \
			     : "memory");                                                          \
	} while (0)

/* Five numbers of a word as it stands in memory, of 6, 6, 6, 7 and 7 bits from its lowest bit on. */
#define PART7(sum, word, shift, mask, off)                                                \
	do {                                                                              \
		__u64 value_ = word;                                                      \
		asm volatile("%[value] >>= %[by]\n"                                       \
			     "%[value] &= %[and]\n"                                       \
			     "%[value] += %[row]\n"                                       \
			     "%[value] = *(u16 *)(%[value] + %[at])\n"                    \
			     "%[hash] ^= %[value]\n"                                      \
			     : [hash] "+r"(sum), [value] "+r"(value_)                     \
			     : [row] "r"(rows), [by] "i"(shift), [and] "i"(mask), [at] "i"(off) \
			     : "memory");                                                 \
	} while (0)

#define WORD7(sum, rows, from, n)                               \
	do {                                                    \
		__u64 word_ = (__u64)(from)[n] << 1;              \
		PART7(sum, word_, 0, 0x7e, 896 * (n));            \
		PART7(sum, word_, 6, 0x7e, 896 * (n) + 128);      \
		PART7(sum, word_, 12, 0x7e, 896 * (n) + 256);     \
		PART7(sum, word_, 18, 0xfe, 896 * (n) + 384);     \
		PART7(sum, word_, 25, 0xfe, 896 * (n) + 640);     \
	} while (0)

/* Words that are not hashed are 0 and change nothing: two lengths are enough. */
static __always_inline __u64 hash_of(const struct rss_input *in)
{
#if BITS == 8
	const __u32 (*low)[256] = settings.rows, (*high)[256] = settings.rows + 18;
	const __be32 *from = in->word;
	__u64 hash = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < 12; i++)
		BYTE8(hash, low, from, i);
	if (in->words <= 3)
		return hash;
#pragma clang loop unroll(full)
	for (int i = 12; i < 18; i++)
		BYTE8(hash, low, from, i);
#pragma clang loop unroll(full)
	for (int i = 18; i < 36; i++)
		BYTE8(hash, high, from, i);
	return hash;
#elif BITS == 7
	const __u16 (*rows)[448] = settings.rows;
	const __be32 *from = in->word;
	__u64 hash = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++)
		WORD7(hash, rows, from, i);
	if (in->words <= 3)
		return hash;
#pragma clang loop unroll(full)
	for (int i = 3; i < 9; i++)
		WORD7(hash, rows, from, i);
	return hash;
#else
	return toeplitz(settings.rows, in);
#endif
}

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct rss_input in;
	struct rss_rules rules = { .hash_types = settings.hash_types, .zero = settings.zero };
	struct packet packet = { .skb = skb };

#ifdef FAST_ONLY
	if (!classify_fast(&packet, &rules, &in))
		return settings.unclassified;
#else
	classify(&packet, &rules, &in);
	if (!in.words)
		return settings.unclassified;
#endif
	return settings.queue[hash_of(&in) & settings.table_mask & 511];
}

#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";
