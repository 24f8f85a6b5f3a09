/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The steering decision: settings, classification, hash, queue. Included after struct packet is defined. */
#ifndef HOLDFAST_RSS_STEER_H
#define HOLDFAST_RSS_STEER_H

#include "classify.h"

/*
 * The queue of a packet. The TAP takes the low 16 bits of it modulo its number of attached queues
 * (tun_ebpf_select_queue()), so a table that names only attached queues is honoured exactly.
 */
static __always_inline int queue_of(struct packet *packet)
{
	struct rss_input in = {};
	const struct rss_settings *settings;
	const struct rss_config *config;
	const struct rss_table *table;
	const struct rss_key *key;
	__u32 slot = 0, l3, hash;
	__be16 proto;

	config = bpf_map_lookup_elem(&rss_config, &slot);
	if (!config)
		return 0;
	slot = *(volatile const __u32 *)&config->active & 1;
	settings = slot ? &config->slot[1] : &config->slot[0];

	l3 = network_header(packet, &proto);
	if (proto == bpf_htons(ETH_P_IP))
		classify_ipv4(packet, l3, settings->hash_types, &in);
	else if (proto == bpf_htons(ETH_P_IPV6))
		classify_ipv6(packet, l3, settings, &in);
	if (!in.words)
		return settings->unclassified_queue;

	key = bpf_map_lookup_elem(&rss_key, &slot);
	table = bpf_map_lookup_elem(&rss_table, &slot);
	if (!key || !table)
		return 0;
	hash = toeplitz(key, &in);
	return table->queue[hash & settings->table_mask & (RSS_TABLE_LEN - 1)];
}

#endif
