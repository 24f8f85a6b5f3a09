/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The steering decision: settings, classification, hash, queue. Included after struct packet is defined,
 * and after RSS_TUNNEL where inner headers are to be hashed.
 */
#ifndef HOLDFAST_RSS_STEER_H
#define HOLDFAST_RSS_STEER_H

#include "classify.h"
#include "rss.h"
#include "toeplitz.h"

/*
 * The queue of a packet. The TAP takes the low 16 bits of it modulo its number of attached queues
 * (tun_ebpf_select_queue()), so a table that names only attached queues is honoured exactly.
 */
static __always_inline int queue_of(struct packet *packet)
{
	const struct rss_settings *settings;
	const struct rss_config *config;
	const struct rss_table *table;
	const struct rss_key *key;
	struct rss_rules rules = {};
	struct rss_input in;
	__u32 slot = 0, hash;

	config = bpf_map_lookup_elem(&rss_config, &slot);
	if (!config)
		return 0;
	slot = *(volatile const __u32 *)&config->active & 1;
	settings = slot ? &config->slot[1] : &config->slot[0];

	rules.hash_types = settings->hash_types;
	rules.zero = settings->zero;
#ifdef RSS_TUNNEL
	rules.tunnel_types = settings->flags;
#endif
	classify(packet, &rules, &in);
	if (!in.words)
		return settings->unclassified_queue;

	key = bpf_map_lookup_elem(&rss_key, &slot);
	table = bpf_map_lookup_elem(&rss_table, &slot);
	if (!key || !table)
		return 0;
	hash = toeplitz(key->row, &in);
	return table->queue[hash & settings->table_mask & (RSS_TABLE_LEN - 1)];
}

#endif
