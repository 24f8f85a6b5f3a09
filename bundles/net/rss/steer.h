/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The steering decision: settings, classification, hash, queue. Included after struct packet and
 * packet_read() are defined, and after RSS_TUNNEL where inner headers are to be hashed.
 */
#ifndef HOLDFAST_RSS_STEER_H
#define HOLDFAST_RSS_STEER_H

#define RSS_NO_FAST /* first_queue() does what it is for */
#include "classify.h"
#include "parity.h"
#include "state.h"

#define LOOK_CLOSER (-1)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct rss_state);
} rss_state SEC(".maps");

#ifdef HOLDFAST_RSS_READ_CAST_H
#include "first_cast.h"
#else
#include "first_helpers.h"

static __always_inline void packet_find(struct packet *packet, struct __sk_buff *skb)
{
	packet->skb = skb;
}

static __always_inline void look_closer(struct packet *packet, const struct rss_rules *rules, struct rss_input *in)
{
	classify(packet, rules, in);
}
#endif

/* 8 bytes at an address that is a multiple of 8. */
#define ADDRESS(in, n) from_le64(*(const __u64 *)&(in).word[2 * (n)])

/*
 * The queue of a packet. The TAP takes the low 16 bits of it modulo its number of attached queues
 * (tun_ebpf_select_queue()), so a table that names only attached queues is honoured exactly.
 */
static __always_inline int queue_of(struct __sk_buff *skb)
{
	struct rss_input in __attribute__((aligned(8)));
	const struct rss_state *state;
	const struct rss_slot *slot;
	struct rss_rules rules = {};
	struct packet here, *packet = &here;
	struct words words;
	__u32 index = 0;
	int queue;

	state = bpf_map_lookup_elem(&rss_state, &index);
	if (!state)
		return 0;
	slot = &state->slot[*(volatile const __u32 *)&state->active & 1];

	packet_find(packet, skb);
	queue = first_queue(packet, slot);
	if (queue != LOOK_CLOSER)
		return queue;

	rules.hash_types = slot->hash_types;
	rules.zero = slot->zero;
#ifdef RSS_TUNNEL
	rules.tunnel_types = slot->tunnel_types;
#endif
	look_closer(packet, &rules, &in);
	if (!in.words)
		return slot->unclassified_queue;
	if (in.words <= 3) {
		cut_short(&words, ADDRESS(in, 0), in.words == 3 ? from_le32(in.word[2]) : 0);
		return queue_by(slot, &words, 2);
	}
	cut_long(&words, ADDRESS(in, 0), ADDRESS(in, 1), ADDRESS(in, 2), ADDRESS(in, 3),
		 in.words == 9 ? from_le32(in.word[8]) : 0);
	return queue_by(slot, &words, RSS_WORDS);
}

#endif
