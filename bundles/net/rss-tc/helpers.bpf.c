// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receive-side scaling in a tc classifier, through helpers alone. Bounded loops (5.3) and writing
 * skb->queue_mapping (5.1) are the newest things that it needs.
 */
#define RSS_DATA_AT_MAC 1
#include "../rss/types.h"

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_F_NO_PREALLOC (1U << 0)

#include "../rss/read_helpers.h"
#include "direct.h"

SEC("tc")
int rss_tc(struct __sk_buff *skb)
{
	struct packet packet = { .skb = skb };

	return direct(&packet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
