/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packets that most packets are, by one read: Ethernet without tags in the frame, IPv4 without options
 * or IPv6 without extension headers, no fragment, TCP, or UDP where no tunnels are looked for, whose type
 * with ports may be chosen. Included by classify.h alone, whose answer for these packets is the same, for programs
 * that need the words of the input; steering alone has first.h in its place.
 */
#ifndef HOLDFAST_RSS_FAST_H
#define HOLDFAST_RSS_FAST_H

/*
 * Of the loopback device in each network namespace (loopback_net_init() insists), and so of no other: it is the
 * first to be made there, and stays. No TAP can have it, whatever number is asked for.
 */
#define LOOPBACK_IFINDEX 1

/* The members of struct __sk_buff that are used here, at the UAPI's offsets. */
struct fast_context {
	__u32 others[4];
	__u32 protocol;
	__u32 more[5];
	__u32 ifindex;
};

_Static_assert(__builtin_offsetof(struct fast_context, protocol) == 16, "struct __sk_buff");
_Static_assert(__builtin_offsetof(struct fast_context, ifindex) == 40, "struct __sk_buff");

/*
 * One read puts header and ports where their addresses are to be in `in`, with the end of the MAC header in
 * front of them on a TAP. By the helper in every variant: such a copy costs less than making a dynptr and a
 * slice of it (measured on 6.18: 15 ns against 30).
 */
#define FAST_BEGIN(in, member) ((__u8 *)(in)->word - (member))
#define FAST_READ(packet, at_mac, in, member, size)                                                      \
	((at_mac) ? !bpf_skb_load_bytes((packet)->skb, ETH_HLEN - 2, FAST_BEGIN(in, (member) + 2), (size) + 2) \
		  : !bpf_skb_load_bytes((packet)->skb, 0, FAST_BEGIN(in, member), size))
#define FAST_PROTO(in, member) (*(const __be16 *)FAST_BEGIN(in, (member) + 2))

static __always_inline int fast_ipv4(struct packet *packet, const struct rss_rules *rules, int at_mac,
				     struct rss_input *in)
{
	const __u32 before = __builtin_offsetof(struct ipv4_header, address);
	const struct ipv4_header *ip = (const struct ipv4_header *)FAST_BEGIN(in, before);
	__u32 len, type, report;

	if (!FAST_READ(packet, at_mac, in, before, sizeof(*ip) + sizeof(struct ports)) ||
	    (at_mac && FAST_PROTO(in, before) != bpf_htons(ETH_P_IP)))
		return 0;
	if (ip->protocol == IPPROTO_TCP) {
		type = RSS_HASH_TYPE_TCPv4;
		report = RSS_HASH_REPORT_TCPv4;
	} else if (ip->protocol == IPPROTO_UDP && !rules->tunnel_types) {
		type = RSS_HASH_TYPE_UDPv4;
		report = RSS_HASH_REPORT_UDPv4;
	} else {
		return 0;
	}
	len = bpf_ntohs(ip->tot_len);
	if (!(rules->hash_types & type) || ip->version_ihl != 0x45 || ip->frag_off & bpf_htons(IPV4_FRAGMENT) ||
	    (len && len < sizeof(*ip) + sizeof(struct ports)))
		return 0;
	/* Nobody reads these, but a verifier that loses track of `words` on the stack cannot know. */
#pragma clang loop unroll(full)
	for (int i = 3; i < RSS_INPUT_WORDS; i++)
		in->word[i] = 0;
	in->words = 3;
	in->report = report;
	return 1;
}

static __always_inline int fast_ipv6(struct packet *packet, const struct rss_rules *rules, int at_mac,
				     struct rss_input *in)
{
	const __u32 before = __builtin_offsetof(struct ipv6_header, address);
	const struct ipv6_header *ip = (const struct ipv6_header *)FAST_BEGIN(in, before);
	__u32 len, type, report;

	if (!FAST_READ(packet, at_mac, in, before, sizeof(*ip) + sizeof(struct ports)) ||
	    (at_mac && FAST_PROTO(in, before) != bpf_htons(ETH_P_IPV6)))
		return 0;
	if (ip->nexthdr == IPPROTO_TCP) {
		type = RSS_HASH_TYPE_TCPv6;
		report = RSS_HASH_REPORT_TCPv6;
	} else if (ip->nexthdr == IPPROTO_UDP && !rules->tunnel_types) {
		type = RSS_HASH_TYPE_UDPv6;
		report = RSS_HASH_REPORT_UDPv6;
	} else {
		return 0;
	}
	len = bpf_ntohs(ip->payload_len);
	if (!(rules->hash_types & type) || ip->version >> 4 != 6 || (len && len < sizeof(struct ports)))
		return 0;
	in->words = 9;
	in->report = report;
	return 1;
}

/*
 * False: look closer. What the sender called the frame's protocol only says how much to read, save in a
 * test run of a socket filter, where the kernel took it from the MAC header that the program does not see.
 * Such a run has the loopback device, unless it asks for another one.
 */
static __always_inline int classify_fast(struct packet *packet, const struct rss_rules *rules, struct rss_input *in)
{
	const struct fast_context *context = (const struct fast_context *)packet->skb;
	__u32 protocol = context->protocol;

#ifndef RSS_DATA_AT_MAC
	if (context->ifindex == LOOPBACK_IFINDEX) {
		if (protocol == bpf_htons(ETH_P_IP))
			return fast_ipv4(packet, rules, 0, in);
		if (protocol == bpf_htons(ETH_P_IPV6))
			return fast_ipv6(packet, rules, 0, in);
		return 0;
	}
#endif
	if (protocol == bpf_htons(ETH_P_IP))
		return fast_ipv4(packet, rules, 1, in);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return fast_ipv6(packet, rules, 1, in);
	return 0;
}

#endif
