/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The looks at a packet by plain loads, with read_cast.h. Included by steer.h alone. */
#ifndef HOLDFAST_RSS_FIRST_CAST_H
#define HOLDFAST_RSS_FIRST_CAST_H

#include "first.h"

#define FIRST_LOAD(bytes, at) from_le64(*(const volatile __u64 *)((bytes) + (at)))

/*
 * The queue, or LOOK_CLOSER. By the frame's own bytes from its MAC header on, which lies 14 bytes in front of the
 * data in BPF_PROG_TEST_RUN. Words of the input are read as they are cut, at odd addresses; no load reaches
 * behind the ports.
 */
static __always_inline int first_queue(struct packet *packet, const struct rss_slot *slot)
{
	__u64 before = packet->data - packet->mac, linear = packet->linear + before, start, next;
	struct words words;
	const void *bytes;

	/* 0 on a TAP, 14 in a test run, and a large number where nobody set the MAC header. */
	if (before > FIRST_MAC_HEADER || linear < FIRST_MAC_HEADER + 24)
		return LOOK_CLOSER;
	bytes = bytes_at(packet->mac);
	start = FIRST_LOAD(bytes, 12);
	if ((__u16)start == FIRST_IPV4) {
		next = FIRST_LOAD(bytes, 20);
		if (!first_is_ipv4(start >> 16, start >> 32, next, next >> 24, slot))
			return LOOK_CLOSER;
		words.word[0] = FIRST_LOAD(bytes, 26);
		words.word[1] = FIRST_LOAD(bytes, 30) >> 24;
		return queue_by(slot, &words, 2);
	}
	if ((__u16)start == FIRST_IPV6 && linear >= FIRST_MAC_HEADER + 44) {
		next = *(const volatile __u8 *)(bytes + 20);
		if (!first_is_ipv6(start >> 16, start >> 48, next, slot))
			return LOOK_CLOSER;
		words.word[0] = FIRST_LOAD(bytes, 22);
		words.word[1] = FIRST_LOAD(bytes, 29);
		words.word[2] = FIRST_LOAD(bytes, 36) >> 2;
		words.word[3] = FIRST_LOAD(bytes, 43) >> 4;
		words.word[4] = FIRST_LOAD(bytes, 50) >> 6;
		return queue_by(slot, &words, RSS_WORDS);
	}
	return LOOK_CLOSER;
}

/* All headers are in the linear part of nearly all packets; only where they are not, begin again by helper. */
static __always_inline void look_closer(struct packet *packet, const struct rss_rules *rules, struct rss_input *in)
{
	struct packet whole = { .skb = packet->skb, .data = packet->data, .mac = packet->mac, .by_helper = 1 };

	/* What first_queue() compared it with is nothing to follow through the loops. */
	packet->linear += rules->zero;
	classify(packet, rules, in);
	if (packet->cut < 0)
		classify(&whole, rules, in);
}

#endif
