// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What steering cannot be faster than: load the header bytes that decide, and add them up. As net/rss does it in
 * its variant `cast`, or with -DHELPERS as in the variant `helpers`. What it returns is no queue.
 */
#include "types.h"

#ifdef HELPERS
struct context {
	__u32 others[4];
	__u32 protocol;
};

SEC("socket")
int steer(struct __sk_buff *skb)
{
	/* The rest of an IPv4 packet's is 0. */
	__u64 word[6] = {}, sum = 0;

	if (((const struct context *)skb)->protocol == bpf_htons(0x0800) ? bpf_skb_load_bytes(skb, 0, word, 24)
									   : bpf_skb_load_bytes(skb, 0, word, 44))
		return 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < 6; i++)
		sum += word[i];
	return sum;
}
#else
#include "read_cast.h"

#define LOAD(at) (*(const volatile __u64 *)(bytes + (at)))

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct packet packet;
	const void *bytes;
	__u64 start, before;

	packet_find(&packet, skb);
	before = packet.data - packet.mac;
	if (before > CAST_MAC_BYTES || packet.linear + before < 38)
		return 0;
	bytes = bytes_at(packet.mac);
	start = LOAD(12);
	if ((__u16)start == bpf_htons(0x0800))
		return start + LOAD(20) + LOAD(26) + LOAD(30);
	if (packet.linear + before < 58)
		return 0;
	return start + *(const volatile __u8 *)(bytes + 20) + LOAD(22) + LOAD(29) + LOAD(36) + LOAD(43) + LOAD(50);
}
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";
