/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps with the settings of the bundles net/rss-report and net/rss-report-tunnel: three, as net/rss had
 * them in its version 1. net/rss and net/rss-tunnel have another, see state.h.
 *
 * Everything here is shared with user space (through the maps' BTF, or by mapping the maps) and is
 * a contract: a change of layout takes a new bundle version. Multi-byte members are in host order
 * unless they are said to be bytes.
 *
 * Settings are double-buffered. User space fills the slot that is not active, in all three maps,
 * and then stores its number in rss_config.active: one aligned 32-bit store, after the others (a
 * release store when the maps are mapped). A packet reads `active` once and uses that slot alone,
 * so it never sees half of a change. Before a slot that was active is filled again, packets that
 * still use it must be over: membarrier(MEMBARRIER_CMD_GLOBAL) waits for them.
 *
 * All zero, as created, is valid: nothing is hashed and every packet goes to queue 0.
 */
#ifndef HOLDFAST_RSS_H
#define HOLDFAST_RSS_H

#include "types.h"

#define RSS_SLOTS 2
#define RSS_TABLE_LEN 512 /* most entries of an indirection table, and a power of two */
struct rss_settings {
	__u32 hash_types; /* RSS_HASH_TYPE_* */
	__u16 table_mask; /* length of the indirection table, a power of two, minus one */
	__u16 unclassified_queue; /* for packets that are not hashed */
	__u32 flags; /* net/rss-report-tunnel: RSS_TUNNEL_TYPE_* whose inner headers are hashed; net/rss-report: 0 */
	__u32 zero; /* 0; anything else makes the programs read wrong headers (struct rss_rules) */
};

struct rss_config {
	__u32 active; /* the slot in use: 0 or 1 */
	__u32 reserved[7]; /* 0 */
	struct rss_settings slot[RSS_SLOTS];
};

/*
 * A key, as bytes and as the table that makes the hash fast. row[r][v] is the XOR of the 32-bit
 * windows of the key at bit 4 * r + b for each bit b that is set in v, the most significant bit
 * being b = 0. The programs read row[] alone.
 */
struct rss_key {
	__u8 key[RSS_KEY_BYTES];
	__u32 row[RSS_KEY_ROWS][16];
};

struct rss_table {
	__u16 queue[RSS_TABLE_LEN];
};

_Static_assert(sizeof(struct rss_settings) == 16, "layout is a contract");
_Static_assert(sizeof(struct rss_config) == 64, "layout is a contract");
_Static_assert(sizeof(struct rss_key) == 4648, "layout is a contract");
_Static_assert(sizeof(struct rss_table) == 1024, "layout is a contract");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct rss_config);
} rss_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RSS_SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct rss_key);
} rss_key SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RSS_SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct rss_table);
} rss_table SEC(".maps");

#endif
