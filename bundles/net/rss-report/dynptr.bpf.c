// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hash reporting that reads headers in place, through the kfuncs bpf_dynptr_from_skb and bpf_dynptr_slice
 * (Linux 6.4).
 */
#include "report.h"

struct bpf_dynptr {
	__u64 __opaque[2];
} __attribute__((aligned(8)));

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
/* Offset and size are u32 in some releases and u64 in others: see ../rss/dynptr.bpf.c. */
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u64 offset, void *buffer, __u64 size) __ksym;

struct packet {
	struct __sk_buff *skb;
	struct bpf_dynptr data;
};

static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	*at = bpf_dynptr_slice(&packet->data, offset, buffer, size);
	return *at != 0;
}

#include "programs.h"

SEC("tc")
int report(struct __sk_buff *skb)
{
	struct packet packet;

	packet.skb = skb;
	if (bpf_dynptr_from_skb(skb, 0, &packet.data))
		return TC_ACT_UNSPEC;
	return report_frame(&packet);
}

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct answer answer = {};
	struct packet packet;
	__u32 queue;

	if (is_steered(skb, &queue))
		return queue;
	packet.skb = skb;
	if (bpf_dynptr_from_skb(skb, 0, &packet.data))
		return 0;
	decide(&packet, &answer);
	return answer.queue;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
