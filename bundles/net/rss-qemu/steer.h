/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The steering decision by QEMU's maps. Included after struct packet is defined. */
#ifndef HOLDFAST_RSS_QEMU_STEER_H
#define HOLDFAST_RSS_QEMU_STEER_H

#include "../rss/classify.h"
#include "rows.h"

/* The bytes of struct qemu_config up to default_queue, read at once: no packet sees half of a change. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CONFIG_REDIRECT(head) ((head) & 0xff)
#define CONFIG_LEN(head) ((__u32)((head) >> 48))
#else
#define CONFIG_REDIRECT(head) ((head) >> 56)
#define CONFIG_LEN(head) ((__u32)(head) & 0xffff)
#endif
#define CONFIG_TYPES(head) ((__u32)((head) >> 16)) /* the four bytes in the middle, in either order */

/*
 * The queue of a packet. What the specification does not know is answered as QEMU's own program does
 * (tried): a length that is no power of two divides, and default_queue is for redirect 0 and for entries
 * that the table does not have.
 */
static __always_inline int queue_of(struct packet *packet)
{
	const struct qemu_config *config;
	const struct qemu_key *key;
	const __u16 *queue;
	struct qemu_rows *rows;
	struct rss_rules rules = {};
	struct rss_input in;
	__u32 index = 0, len, unclassified;
	__u64 head;

	config = bpf_map_lookup_elem(&qemu_config, &index);
	key = bpf_map_lookup_elem(&qemu_key, &index);
	rows = bpf_map_lookup_elem(&qemu_rows, &index);
	if (!config || !key || !rows)
		return 0;
	head = *(const volatile __u64 *)config;
	/* Not through the member's own address, which clang holds to be unaligned in a packed struct. */
	unclassified = ((const volatile __u16 *)config)[__builtin_offsetof(struct qemu_config, default_queue) / 2];
	len = CONFIG_LEN(head);
	if (!CONFIG_REDIRECT(head) || !len)
		return unclassified;

	rules.hash_types = CONFIG_TYPES(head);
	rules.zero = rows->zero;
	classify(packet, &rules, &in);
	if (!in.words)
		return unclassified;

	index = hash_by(key, rows, &in);
	if (len & (len - 1))
		index %= len;
	else
		index &= len - 1;
	queue = bpf_map_lookup_elem(&qemu_table, &index);
	return queue ? READ_ONCE(*queue) : unclassified;
}

#endif
