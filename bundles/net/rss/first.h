/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a first look at a packet decides by, for the packets that most packets are: Ethernet without tags in
 * the frame, IPv4 without options or IPv6 without extension headers, no fragment, TCP, or UDP where no
 * tunnels are looked for, whose type with ports may be chosen. The closer look of classify.h answers the
 * same for them. Header bytes are handed in as little-endian numbers.
 */
#ifndef HOLDFAST_RSS_FIRST_H
#define HOLDFAST_RSS_FIRST_H

#define FIRST_IPV4 0x0008 /* the EtherTypes as bytes in memory */
#define FIRST_IPV6 0xdd86
#define FIRST_MAC_HEADER 14

/* A length of 0 is that of a packet longer than it can tell. */
#define FIRST_LENGTH_OK(length, least) (!(length) || __builtin_bswap16(length) >= (least))

/* The bit of the type that a packet of this protocol would be of; 0 takes a closer look. */
static __always_inline __u32 first_type(__u8 protocol, const struct rss_slot *slot, __u32 tcp, __u32 udp)
{
	if (protocol == IPPROTO_TCP)
		return slot->hash_types & tcp;
#ifdef RSS_TUNNEL
	if (slot->tunnel_types)
		return 0;
#endif
	if (protocol == IPPROTO_UDP)
		return slot->hash_types & udp;
	return 0;
}

static __always_inline int first_is_ipv4(__u8 version_ihl, __u16 tot_len, __u16 frag_off, __u8 protocol,
					 const struct rss_slot *slot)
{
	return version_ihl == 0x45 && !(frag_off & 0xff3f) && FIRST_LENGTH_OK(tot_len, 24) &&
	       first_type(protocol, slot, RSS_HASH_TYPE_TCPv4, RSS_HASH_TYPE_UDPv4);
}

static __always_inline int first_is_ipv6(__u8 version, __u16 payload_len, __u8 nexthdr,
					 const struct rss_slot *slot)
{
	return (version & 0xf0) == 0x60 && FIRST_LENGTH_OK(payload_len, 4) &&
	       first_type(nexthdr, slot, RSS_HASH_TYPE_TCPv6, RSS_HASH_TYPE_UDPv6);
}

#endif
