// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Headers are copied through helpers alone; ../rss/helpers.bpf.c says what that needs. */
#include "rss_qemu.h"

#include "../rss/read_helpers.h"
#include "steer.h"

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct packet packet = { .skb = skb };

	return queue_of(&packet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
