/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interface of the bundle net/rss-tc, version 1: one classifier for tc, a map of rules, and counters.
 *
 * The classifier is a direct action of a filter in a root qdisc. The filter's class, minor number N, names
 * rule N: the program reads it from skb->tc_classid. It stores the queue in skb->queue_mapping and ends the
 * classification. A filter without a rule, and a rule without queues, leave the packet to the next filter.
 *
 * An update replaces a rule at once: a packet sees the old one or the new one. Between two updates, packets
 * that still read an old rule must be through (membarrier(MEMBARRIER_CMD_GLOBAL)), because the kernel may
 * use the memory of a replaced element for the next one right away (Linux 6.1 and later).
 */
#ifndef HOLDFAST_RSS_TC_H
#define HOLDFAST_RSS_TC_H

#include "../rss/types.h"

#define RSS_TC_QUEUES 512 /* most entries of a rule's list, and a power of two */
#define RSS_TC_RULES 4096
#define RSS_TC_COUNTED 1024

struct rss_tc_rule {
	__u32 hash_types; /* RSS_HASH_TYPE_* */
	__u32 tunnel_types; /* net/rss-tc-tunnel: RSS_TUNNEL_TYPE_* whose inner headers are hashed; net/rss-tc: 0 */
	__u32 queues; /* entries of queue[] in use: 1 to RSS_TC_QUEUES, any number; 0: no rule */
	__u32 unclassified_queue; /* for packets that are not hashed; 0xffff: for the next filter */
	/*
	 * The device's number of transmit queues, as it was created (IFLA_NUM_TX_QUEUES). A qdisc takes
	 * skb->queue_mapping as an index without looking at it, so a queue that is not below this is
	 * never stored.
	 */
	__u32 queue_limit;
	__u32 zero; /* 0 (struct rss_rules) */
	__u32 reserved[2]; /* 0 */
	__u8 key[RSS_KEY_BYTES]; /* for whoever reads the rule; the program reads row[] */
	__u32 row[RSS_KEY_ROWS][16]; /* as in struct rss_key of ../rss/rss.h */
	__u16 queue[RSS_TC_QUEUES]; /* a packet takes queue[hash % queues] */
};

_Static_assert(sizeof(struct rss_tc_rule) == 5704, "layout is a contract");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, RSS_TC_RULES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct rss_tc_rule);
} rss_tc_rules SEC(".maps");

/* How many packets were given to each queue, for each CPU. Not for queues beyond it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RSS_TC_COUNTED);
	__type(key, __u32);
	__type(value, __u64);
} rss_tc_packets SEC(".maps");

#endif
