/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The hash by a key that changes without notice.
 *
 * A packet copies the key out of QEMU's map once, and is hashed by that copy, whatever happens meanwhile.
 * Where the copy equals the key that this CPU's look-up table was made of, the table gives the hash; else
 * the packet makes the table anew, in one to three microseconds, and uses it. So a new key counts from the
 * first packet that sees it, nobody watches the map, and a copy that was taken in the middle of QEMU's
 * store costs a table that the next packet replaces.
 *
 * Each CPU has a table of its own, so no CPU waits for another, none reads what another writes, and no
 * order of memory between CPUs is relied on: loads and stores of one CPU appear to itself in program order
 * on every architecture. What is left is one CPU's program being interrupted by itself: a packet that a
 * hard interrupt sends (netpoll), BH-disabled sections on PREEMPT_RT, BPF_PROG_TEST_RUN. The kernel keeps
 * a running program on its CPU (bpf_prog_run_pin_on_cpu(), Linux commit 2a916f2f546c ("bpf: Use
 * migrate_disable/enable in array macros and cgroup/lirc code.") (in v5.7)) and does no more than that.
 * Against that, two counters that only grow, each by one instruction (BPF_XADD, which every kernel has;
 * the compare-and-exchange of 5.12 is not needed):
 *  - the table is whole, and that of rows->key, where begun equals ended;
 *  - whoever counts `begun` up and finds it counted once since then builds; whoever finds more, leaves;
 *  - a reader that finds `begun` unchanged after its look-ups has read one whole table.
 * Whoever is unlucky hashes bit by bit with its copy of the key.
 */
#ifndef HOLDFAST_RSS_QEMU_ROWS_H
#define HOLDFAST_RSS_QEMU_ROWS_H

#include "../rss/toeplitz.h"
#include "rss_qemu.h"

#define barrier() asm volatile("" ::: "memory")
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define NO_TABLE (~0ULL)

/* A copy of QEMU's key. word[] is in host order from qemu_key_words() on. */
union key_copy {
	__u64 raw[QEMU_KEY_U64];
	__u32 word[QEMU_KEY_U32];
};

/*
 * The 32 + 32 bits of the key from bit 32 * i on: the windows of its bits 0 to 31. The first word is a
 * number already.
 */
static __always_inline __u64 key_windows(const union key_copy *key, __u32 i)
{
	__u32 high = i ? bpf_ntohl(key->word[i]) : key->word[0];

	return (__u64)high << 32 | bpf_ntohl(key->word[i + 1]);
}

/*
 * Make the table of `key`. Returns what `begun` is while that table stands, or NO_TABLE when another run
 * on this CPU is at it, which this one has interrupted, or which has interrupted this one.
 */
static __always_inline __u64 build_rows(struct qemu_rows *rows, const union key_copy *key, __u64 begun)
{
	__sync_fetch_and_add(&rows->begun, 1);
	barrier();
	begun++;
	if (READ_ONCE(rows->begun) != begun) {
		__sync_fetch_and_add(&rows->ended, 1);
		return NO_TABLE;
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < QEMU_KEY_U64; i++)
		rows->key[i] = key->raw[i];
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < RSS_INPUT_WORDS; i++) {
		__u64 windows = key_windows(key, i);

#pragma clang loop unroll(disable)
		for (__u32 r = 8 * i; r < 8 * i + 8; r++) {
			__u32 *row = rows->row[r];
			__u32 b0 = windows >> 32, b1 = windows >> 31, b2 = windows >> 30, b3 = windows >> 29;

			row[0] = 0;
			row[1] = b3;
			row[2] = b2;
			row[3] = b2 ^ b3;
			row[4] = b1;
			row[5] = b1 ^ b3;
			row[6] = b1 ^ b2;
			row[7] = b1 ^ b2 ^ b3;
			row[8] = b0;
			row[9] = b0 ^ b3;
			row[10] = b0 ^ b2;
			row[11] = b0 ^ b2 ^ b3;
			row[12] = b0 ^ b1;
			row[13] = b0 ^ b1 ^ b3;
			row[14] = b0 ^ b1 ^ b2;
			row[15] = b0 ^ b1 ^ b2 ^ b3;
			windows <<= 4;
		}
	}
	barrier();
	__sync_fetch_and_add(&rows->ended, 1);
	return begun;
}

static __always_inline __u32 hash_bit_by_bit(const union key_copy *key, const struct rss_input *in)
{
	__u32 hash = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < RSS_INPUT_WORDS; i++) {
		__u64 windows, word;

		if (i >= in->words)
			break;
		windows = key_windows(key, i);
		word = bpf_ntohl(in->word[i]);
#pragma clang loop unroll(disable)
		for (int bit = 0; bit < 32; bit++) {
			/* All bits of the mask are the bit's, and no branch decides: 2^288 paths to verify. */
			__u64 mask = 0 - (word >> 31 & 1);

			barrier_var(mask);
			hash ^= windows >> 32 & mask;
			windows <<= 1;
			word <<= 1;
		}
	}
	return hash;
}

/* The hash of `in` by the key that stands in QEMU's map now. */
static __always_inline __u32 hash_by(const struct qemu_key *from, struct qemu_rows *rows, const struct rss_input *in)
{
	const volatile __u64 *source = (const volatile __u64 *)from;
	__u64 ended, begun, difference = 0;
	union key_copy key;
	__u32 hash;

#pragma clang loop unroll(full)
	for (int i = 0; i < QEMU_KEY_U64; i++)
		key.raw[i] = source[i];

	/* In this order: `ended` never overtakes `begun`, so equal means that nobody is between them. */
	ended = READ_ONCE(rows->ended);
	begun = READ_ONCE(rows->begun);
	if (begun != ended)
		return hash_bit_by_bit(&key, in);
	barrier();
#pragma clang loop unroll(full)
	for (int i = 0; i < QEMU_KEY_U64; i++)
		difference |= rows->key[i] ^ key.raw[i];
	if (difference) {
		begun = build_rows(rows, &key, begun);
		if (begun == NO_TABLE)
			return hash_bit_by_bit(&key, in);
	}
	barrier();
	hash = toeplitz(rows->row, in);
	barrier();
	if (READ_ONCE(rows->begun) != begun)
		return hash_bit_by_bit(&key, in);
	return hash;
}

#endif
