/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The first look at a packet by one call of bpf_skb_load_bytes(), which costs less than a dynptr and a slice
 * of it (measured on 6.18: 15 ns against 30). Included by steer.h alone.
 */
#ifndef HOLDFAST_RSS_FIRST_HELPERS_H
#define HOLDFAST_RSS_FIRST_HELPERS_H

#include "first.h"

/*
 * The sign of a test run of a socket filter, in which data begins behind the MAC header: the kernel lends it
 * the loopback device unless the caller names another one, and that has this number in each network namespace
 * (loopback_net_init() insists). It is the first device to be made there, and stays: no TAP can have its number.
 */
#define FIRST_TEST_RUN_IFINDEX 1

/* The members of struct __sk_buff that are used here, at the UAPI's offsets. */
struct first_context {
	__u32 others[4];
	__u32 protocol;
	__u32 more[5];
	__u32 ifindex;
};

_Static_assert(__builtin_offsetof(struct first_context, protocol) == 16, "struct __sk_buff");
_Static_assert(__builtin_offsetof(struct first_context, ifindex) == 40, "struct __sk_buff");

/* Addresses begin at a multiple of 8. `proto`, the end of the MAC header, is read on a TAP alone. */
struct first_ipv4 {
	__u16 nothing;
	__u16 proto;
	struct ipv4_header ip;
	__u32 ports;
};

struct first_ipv6 {
	__u16 nothing[3];
	__u16 proto;
	struct ipv6_header ip;
	__u32 ports;
};

/* Read a header and its ports, with the end of the MAC header where the packet has one. */
#define FIRST_READ(packet, test_run, buffer)                                                               \
	((test_run) ? !bpf_skb_load_bytes((packet)->skb, 0, &(buffer).ip, sizeof((buffer).ip) + 4)         \
		    : !bpf_skb_load_bytes((packet)->skb, FIRST_MAC_HEADER - 2, &(buffer).proto,            \
					  sizeof((buffer).ip) + 6))

#define FIRST_ADDRESS(buffer, n) from_le64(*(const __u64 *)&(buffer).ip.address[2 * (n)])

/*
 * The queue, or LOOK_CLOSER. What the sender called the frame's protocol only says how much to read, save in
 * a test run, where the kernel took it from the MAC header.
 */
static __always_inline int first_queue(struct packet *packet, const struct rss_slot *slot)
{
	const struct first_context *context = (const struct first_context *)packet->skb;
	int test_run = context->ifindex == FIRST_TEST_RUN_IFINDEX;
	struct words words;

	if (context->protocol == bpf_htons(ETH_P_IP)) {
		struct first_ipv4 four __attribute__((aligned(8)));

		if (!FIRST_READ(packet, test_run, four) || (!test_run && four.proto != bpf_htons(ETH_P_IP)) ||
		    !first_is_ipv4(four.ip.version_ihl, le16(four.ip.tot_len), le16(four.ip.frag_off),
				   four.ip.protocol, slot))
			return LOOK_CLOSER;
		cut_short(&words, FIRST_ADDRESS(four, 0), from_le32(four.ports));
		return queue_by(slot, &words, 2);
	}
	if (context->protocol == bpf_htons(ETH_P_IPV6)) {
		struct first_ipv6 six __attribute__((aligned(8)));

		if (!FIRST_READ(packet, test_run, six) || (!test_run && six.proto != bpf_htons(ETH_P_IPV6)) ||
		    !first_is_ipv6(six.ip.version, le16(six.ip.payload_len), six.ip.nexthdr, slot))
			return LOOK_CLOSER;
		cut_long(&words, FIRST_ADDRESS(six, 0), FIRST_ADDRESS(six, 1), FIRST_ADDRESS(six, 2),
			 FIRST_ADDRESS(six, 3), from_le32(six.ports));
		return queue_by(slot, &words, RSS_WORDS);
	}
	return LOOK_CLOSER;
}

#endif
