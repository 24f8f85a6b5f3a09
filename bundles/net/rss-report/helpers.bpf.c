// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hash reporting through helpers alone. The newest thing that it needs is bpf_skb_change_head() in tc
 * programs: Linux commit 6f3f65d80dac ("net: bpf: Allow TC programs to call BPF_FUNC_skb_change_head") (in v5.8).
 */
#include "report.h"

#include "../rss/read_helpers.h"
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
