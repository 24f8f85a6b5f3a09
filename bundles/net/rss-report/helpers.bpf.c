// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hash reporting through helpers alone. The newest thing that it needs is bpf_skb_change_head() in tc
 * programs: Linux commit 6f3f65d80dac ("net: bpf: Allow TC programs to call BPF_FUNC_skb_change_head") (in v5.8).
 */
#include "report.h"

struct packet {
	struct __sk_buff *skb;
};

/* The pointer is never null, whatever the answer: see ../rss/helpers.bpf.c. */
static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	*at = buffer;
	return !bpf_skb_load_bytes(packet->skb, offset, buffer, size);
}

#include "programs.h"

SEC("tc")
int report(struct __sk_buff *skb)
{
	struct packet packet = { .skb = skb };

	return report_frame(&packet);
}

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct packet packet = { .skb = skb };
	struct answer answer = {};
	__u32 queue;

	if (is_steered(skb, &queue))
		return queue;
	decide(&packet, &answer);
	return answer.queue;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
