/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the two programs do. Included after struct packet and packet_read() are defined, and after RSS_TUNNEL
 * where inner headers are to be hashed.
 */
#ifndef HOLDFAST_RSS_REPORT_PROGRAMS_H
#define HOLDFAST_RSS_REPORT_PROGRAMS_H

/*
 * On the egress hook and on a TAP data begins at the MAC header. Only a test run of `steer` would show another
 * beginning, and nothing needs that.
 */
#define RSS_DATA_AT_MAC

#include "../rss/classify.h"
#include "../rss/toeplitz.h"
#include "report.h"

#define TC_ACT_UNSPEC (-1) /* also TCX_NEXT: other programs on this hook have their say, too */
#define TC_ACT_SHOT 2

/*
 * What `report` tells `steer` in skb->tc_index, which tc clears on no way and no kernel sets by itself: that
 * the queue is in skb->queue_mapping, or that it is 65535, which the kernel does not let tc write there.
 */
#define QUEUE_IS_MAPPED 0x4846
#define QUEUE_IS_LAST 0x4847
#define QUEUE_LAST 0xffff

/* The members of struct __sk_buff that are used here, at the UAPI's offsets; ../rss/bpf.h names none. */
struct context {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 others[32];
	__u32 gso_size;
};

_Static_assert(__builtin_offsetof(struct context, tc_index) == 44, "struct __sk_buff");
_Static_assert(__builtin_offsetof(struct context, gso_size) == 176, "struct __sk_buff");

static long (*const bpf_skb_store_bytes)(void *skb, __u32 offset, const void *from, __u32 len,
					 __u64 flags) = (void *)9;
static long (*const bpf_skb_change_head)(void *skb, __u32 len, __u64 flags) = (void *)43;
static long (*const bpf_set_hash)(void *skb, __u32 hash) = (void *)48;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define to_le16(x) ((__u16)(x))
#define to_le32(x) ((__u32)(x))
#else
#define to_le16(x) __builtin_bswap16(x)
#define to_le32(x) __builtin_bswap32(x)
#endif

struct answer {
	__u32 queue;
	__u32 hash;
	__u32 report; /* VIRTIO_NET_HASH_REPORT_*; NONE if the frame is not hashed */
};

static __always_inline int is_tag(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/*
 * A tag in the metadata counts like those in the frame: whoever reads the TAP finds all of them in the frame,
 * and would not look behind the third.
 */
static __always_inline int too_many_tags(struct packet *packet)
{
	struct {
		__be16 proto;
		__be16 tci;
		__be16 next;
	} buffer;
	const typeof(buffer) *tag;

	if (!((struct context *)packet->skb)->vlan_present)
		return 0;
	return READ(packet, ETH_HLEN - 2, buffer, tag) && is_tag(tag->proto) && is_tag(tag->next);
}

/* `answer` is all zero before, and stays so where there are no settings. */
static __always_inline void decide(struct packet *packet, struct answer *answer)
{
	const struct rss_settings *settings;
	const struct rss_config *config;
	const struct rss_table *table;
	const struct rss_key *key;
	struct rss_rules rules = {};
	struct rss_input in;
	__u32 slot = 0;

	config = bpf_map_lookup_elem(&rss_config, &slot);
	if (!config)
		return;
	slot = *(volatile const __u32 *)&config->active & 1;
	settings = slot ? &config->slot[1] : &config->slot[0];

	rules.hash_types = settings->hash_types;
	rules.zero = settings->zero;
#ifdef RSS_TUNNEL
	rules.tunnel_types = settings->flags;
#endif
	answer->queue = settings->unclassified_queue;
	if (too_many_tags(packet))
		return;
	classify(packet, &rules, &in);
	if (!in.words)
		return;

	key = bpf_map_lookup_elem(&rss_key, &slot);
	table = bpf_map_lookup_elem(&rss_table, &slot);
	if (!key || !table)
		return;
	answer->hash = toeplitz(key->row, &in);
	answer->report = in.report;
	answer->queue = table->queue[answer->hash & settings->table_mask & (RSS_TABLE_LEN - 1)];
}

static __always_inline int report_frame(struct packet *packet)
{
	struct context *context = (struct context *)packet->skb;
	const struct report_config *config;
	struct report_prefix prefix;
	struct answer answer = {};
	__u32 zero = 0, len = context->len;

	config = bpf_map_lookup_elem(&report_config, &zero);
	if (!config)
		return TC_ACT_UNSPEC;
	prefix = config->prefix;
	decide(packet, &answer);

	/* Before the prefix, so that a frame without room for one is steered alike. */
	if (answer.report != RSS_HASH_REPORT_NONE)
		bpf_set_hash(context, answer.hash);
	if (answer.queue == QUEUE_LAST) {
		context->tc_index = QUEUE_IS_LAST;
	} else {
		context->queue_mapping = answer.queue;
		context->tc_index = QUEUE_IS_MAPPED;
	}

	prefix.hash_value = to_le32(answer.hash);
	prefix.hash_report = answer.report;
	prefix.flags = 0;
	if (context->vlan_present)
		prefix.flags |= REPORT_FLAG_VLAN;
	if (context->gso_size)
		prefix.flags |= REPORT_FLAG_GSO;
	prefix.length = to_le16(len < REPORT_LENGTH_MAX ? len : REPORT_LENGTH_MAX);
	/* Too long, or no memory: the frame is as it was, and the reader sees that it has no prefix. */
	if (bpf_skb_change_head(context, sizeof(prefix), 0))
		return TC_ACT_UNSPEC;
	/* 12 zeros in front of a frame would be taken for its MAC header. */
	if (bpf_skb_store_bytes(context, 0, &prefix, sizeof(prefix), 0))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}

/* The queue that `report` chose, if it saw the frame. */
static __always_inline int is_steered(struct __sk_buff *skb, __u32 *queue)
{
	const struct context *context = (const struct context *)skb;
	__u32 told = context->tc_index;

	*queue = told == QUEUE_IS_LAST ? QUEUE_LAST : context->queue_mapping;
	return told == QUEUE_IS_MAPPED || told == QUEUE_IS_LAST;
}

#endif
