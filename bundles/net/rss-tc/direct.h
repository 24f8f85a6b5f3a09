/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The decision of a tc classifier: rule, classification, hash, queue. Included after struct packet is defined,
 * and after RSS_TUNNEL where inner headers are to be hashed.
 */
#ifndef HOLDFAST_RSS_TC_DIRECT_H
#define HOLDFAST_RSS_TC_DIRECT_H

#include "../rss/classify.h"
#include "../rss/toeplitz.h"
#include "rss_tc.h"

/* include/uapi/linux/pkt_cls.h */
#define TC_ACT_UNSPEC (-1)
#define TC_ACT_OK 0

#define RSS_TC_NEXT_FILTER 0xffff
#define RSS_TC_CLASS 1 /* the class that all packets are put into, for qdiscs that want one */

/* The members of struct __sk_buff that are used here, where the UAPI has them. */
struct tc_context {
	__u32 len, pkt_type, mark;
	__u32 queue_mapping;
	__u32 other[14];
	__u32 tc_classid;
};

_Static_assert(__builtin_offsetof(struct tc_context, queue_mapping) == 12, "as in struct __sk_buff");
_Static_assert(__builtin_offsetof(struct tc_context, tc_classid) == 72, "as in struct __sk_buff");

static __always_inline int direct(struct packet *packet)
{
	struct tc_context *context = (struct tc_context *)packet->skb;
	const struct rss_tc_rule *rule;
	struct rss_rules rules = {};
	struct rss_input in;
	__u32 id = context->tc_classid & 0xffff, queue;
	__u64 *count;

	rule = bpf_map_lookup_elem(&rss_tc_rules, &id);
	if (!rule || !rule->queues)
		return TC_ACT_UNSPEC;
	rules.hash_types = rule->hash_types;
	rules.zero = rule->zero;
#ifdef RSS_TUNNEL
	rules.tunnel_types = rule->tunnel_types;
#endif
	classify(packet, &rules, &in);
	if (in.words) {
		queue = toeplitz(rule->row, &in) % rule->queues;
		queue = rule->queue[queue & (RSS_TC_QUEUES - 1)];
	} else {
		queue = rule->unclassified_queue;
		if (queue == RSS_TC_NEXT_FILTER)
			return TC_ACT_UNSPEC;
	}
	if (queue < rule->queue_limit && queue < 0xffff) {
		context->queue_mapping = queue;
		count = bpf_map_lookup_elem(&rss_tc_packets, &queue);
		if (count)
			*count += 1;
	}
	context->tc_classid = RSS_TC_CLASS;
	return TC_ACT_OK;
}

#endif
