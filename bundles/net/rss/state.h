/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interface of the bundles net/rss and net/rss-tunnel, version 2: one map, rss_state, and one program.
 *
 * Everything here is shared with user space (through the map's BTF, or by mapping the map) and is
 * a contract: a change of layout takes a map of another name. Multi-byte members are in host order
 * unless they are said to be bytes.
 *
 * Settings are double-buffered. User space fills the slot that is not active and then stores its
 * number in `active`: one aligned 32-bit store, after the others (a release store when the map is
 * mapped). A packet reads `active` once and uses that slot alone, so it never sees half of a
 * change. Before a slot that was active is filled again, packets that still use it must be over:
 * membarrier(MEMBARRIER_CMD_GLOBAL) waits for them.
 *
 * All zero, as created, is valid: nothing is hashed and every packet goes to queue 0.
 */
#ifndef HOLDFAST_RSS_STATE_H
#define HOLDFAST_RSS_STATE_H

#include "types.h"

#define RSS_SLOTS 2
#define RSS_TABLE_LEN 512 /* most entries of an indirection table, and a power of two */
#define RSS_WORDS 5 /* numbers that the input of a hash is cut into */

/* Where word w begins in the input, as bits of a little-endian number. */
#define RSS_WORD_BIT(w) (56 * (w) + ((w) > 1 ? 2 * (w) - 2 : 0))

/*
 * The key as masks. Read the 36 bytes of the input as a little-endian number; word w is its bits from
 * RSS_WORD_BIT(w) on, up to where the next word begins: 56 bits, then 58 in each of the others. Bit p of
 * row[w][m] is the bit of the key that says whether bit p of word w changes bit j of the hash, the lowest being
 * bit 0, for j = (p + m) % 7. So the XOR over all w and m of (word[w] & row[w][m]) << m has, in its bits
 * j, j + 7, j + 14 and so on, bits whose parity is bit j of the hash: seven bits come out, enough for 128
 * entries. For longer tables bits 7 and 8 come from two masks more in the same way, j = 7 + (p + m) % 2:
 * row[w][7] for m = 0, and wide[w] for m = 1. All other bits are 0.
 */
struct rss_slot {
	__u32 hash_types; /* RSS_HASH_TYPE_* */
	__u16 table_mask; /* length of the indirection table, a power of two, minus one */
	__u16 unclassified_queue; /* for packets that are not hashed */
	__u32 tunnel_types; /* net/rss-tunnel: RSS_TUNNEL_TYPE_* whose inner headers are hashed; net/rss: 0 */
	__u32 zero; /* 0; anything else makes the programs read wrong headers (struct rss_rules) */
	__u8 key[RSS_KEY_BYTES]; /* for whoever reads the map; the programs do not */
	__u64 reserved; /* 0 */
	__u64 row[RSS_WORDS][8];
	__u64 wide[8]; /* the last three are 0 */
	__u16 queue[RSS_TABLE_LEN];
};

struct rss_state {
	__u32 active; /* the slot in use: 0 or 1 */
	__u32 reserved[15]; /* 0; the slots begin at a cache line */
	struct rss_slot slot[RSS_SLOTS];
};

_Static_assert(sizeof(struct rss_slot) == 1472, "layout is a contract");
_Static_assert(sizeof(struct rss_state) == 3008, "layout is a contract");

#endif
