// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hash reporting that reads headers in place, through the kfuncs bpf_dynptr_from_skb and bpf_dynptr_slice
 * (Linux 6.4).
 */
#include "report.h"

#include "../rss/read_dynptr.h"
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
