// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Headers are copied through helpers alone; ../rss/helpers.bpf.c says what that needs. */
#include "rss_qemu.h"

struct packet {
	struct __sk_buff *skb;
};

/* The pointer is never null: ../rss/helpers.bpf.c says why. */
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
