/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interface of the bundle net/rss-qemu: the program and the three maps whose descriptors QEMU's
 * property ebpf-rss-fds takes, in this order: program, configuration, key, indirection table. Layouts
 * are QEMU's (6.1 and later), not ours to choose; it checks none of them.
 *
 * QEMU maps the three into its memory and stores into them when its guest says so: at any moment, without
 * notice, one map after the other, and the key by a copy that another CPU can see half of.
 */
#ifndef HOLDFAST_RSS_QEMU_H
#define HOLDFAST_RSS_QEMU_H

#include "../rss/types.h"

#define QEMU_TABLE_LEN 128 /* most entries of the indirection table */
#define QEMU_KEY_U64 (RSS_KEY_BYTES / 8)
#define QEMU_KEY_U32 (RSS_KEY_BYTES / 4)

#define BPF_MAP_TYPE_PERCPU_ARRAY 6

struct qemu_config {
	__u8 redirect; /* 0: the guest has no RSS, all packets go to default_queue */
	__u8 populate_hash; /* for a program that could report the hash; none can */
	__u32 hash_types; /* RSS_HASH_TYPE_* */
	__u16 indirections_len; /* entries of the table in use, a power of two */
	__u16 default_queue; /* for packets that are not hashed */
} __attribute__((packed));

struct qemu_key {
	__u32 leftmost_32_bits; /* a number in host order */
	__u8 next_byte[RSS_KEY_BYTES - 4];
};

/*
 * This program's own, one for each CPU: a key as it stood in qemu_key, and its look-up table (toeplitz.h).
 * All zero, as created, is a valid one: the key of zeros.
 */
struct qemu_rows {
	__u64 key[QEMU_KEY_U64];
	__u64 begun; /* builds of row[] that were begun on this CPU ... */
	__u64 ended; /* ... and ended: row[] is whole, and that of key[], where the two are equal */
	__u64 zero; /* 0, for struct rss_rules */
	__u32 row[RSS_KEY_ROWS][16];
};

_Static_assert(sizeof(struct qemu_config) == 10, "layout is QEMU's");
_Static_assert(sizeof(struct qemu_key) == 40, "layout is QEMU's");
_Static_assert(sizeof(struct qemu_rows) == 64 + 4608, "rows begin at a multiple of 64 bytes");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct qemu_config);
} qemu_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct qemu_key);
} qemu_key SEC(".maps");

/* The kernel places elements of an array 8 bytes apart, which QEMU reckons with. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QEMU_TABLE_LEN);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u16);
} qemu_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct qemu_rows);
} qemu_rows SEC(".maps");

#endif
