// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Headers are read in place through kfuncs of Linux 6.4; ../rss/read_dynptr.h says how. */
#include "rss_qemu.h"

#define RSS_PACKET_OPEN 1
#include "../rss/read_dynptr.h"
#include "steer.h"

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct packet packet;

	packet.skb = skb;
	return queue_of(&packet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
