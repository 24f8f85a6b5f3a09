// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receive-side scaling through helpers alone: bpf_skb_load_bytes and bpf_skb_load_bytes_relative,
 * which every kernel since 4.18 has. Bounded loops (5.3) are the newest thing that it needs.
 */
#include "types.h"

#include "read_helpers.h"
#include "steer.h"

SEC("socket")
int steer(struct __sk_buff *skb)
{
	return queue_of(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
