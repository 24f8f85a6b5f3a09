// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receive-side scaling through the kfuncs bpf_dynptr_from_skb and bpf_dynptr_slice (Linux 6.4):
 * headers are read in place where they lie in the linear part of the skb, and copied only where
 * they do not.
 */
#include "types.h"

#define RSS_PACKET_OPEN 1
#include "read_dynptr.h"
#include "steer.h"

SEC("socket")
int steer(struct __sk_buff *skb)
{
	return queue_of(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
