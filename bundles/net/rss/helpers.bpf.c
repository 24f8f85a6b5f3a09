// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receive-side scaling through helpers alone: bpf_skb_load_bytes and bpf_skb_load_bytes_relative,
 * which every kernel since 4.18 has. Bounded loops (5.3) are the newest thing that it needs.
 */
#include "rss.h"

struct packet {
	struct __sk_buff *skb;
};

/*
 * The pointer is never null, whatever the answer: old verifiers (5.10) lose track of a pointer that
 * is null or not depending on the helper's answer when clang asks for the answer twice.
 */
static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	*at = buffer;
	return !bpf_skb_load_bytes(packet->skb, offset, buffer, size);
}

#include "steer.h"

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct packet packet = { .skb = skb };

	return queue_of(&packet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
