/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every program that hashes packets shares, whatever maps it has: the specification's numbers,
 * what is asked of a classification, and what it answers.
 */
#ifndef HOLDFAST_RSS_TYPES_H
#define HOLDFAST_RSS_TYPES_H

#include "bpf.h"

#define RSS_INPUT_WORDS 9 /* the longest input: two IPv6 addresses and two ports, 36 bytes */
#define RSS_KEY_BYTES 40 /* 36 bytes of input look at 36 + 4 bytes of key, never at more */
#define RSS_KEY_ROWS 72 /* one row for each half byte of the longest input */

/* The bits of the virtio specification, VIRTIO_NET_HASH_TYPE_* */
#define RSS_HASH_TYPE_IPv4 (1U << 0)
#define RSS_HASH_TYPE_TCPv4 (1U << 1)
#define RSS_HASH_TYPE_UDPv4 (1U << 2)
#define RSS_HASH_TYPE_IPv6 (1U << 3)
#define RSS_HASH_TYPE_TCPv6 (1U << 4)
#define RSS_HASH_TYPE_UDPv6 (1U << 5)
#define RSS_HASH_TYPE_IP_EX (1U << 6)
#define RSS_HASH_TYPE_TCP_EX (1U << 7)
#define RSS_HASH_TYPE_UDP_EX (1U << 8)
#define RSS_HASH_TYPE_EX (RSS_HASH_TYPE_IP_EX | RSS_HASH_TYPE_TCP_EX | RSS_HASH_TYPE_UDP_EX)

/* VIRTIO_NET_HASH_REPORT_*: a type's bit is 1 << (report - 1) */
#define RSS_HASH_REPORT_NONE 0
#define RSS_HASH_REPORT_IPv4 1
#define RSS_HASH_REPORT_TCPv4 2
#define RSS_HASH_REPORT_UDPv4 3
#define RSS_HASH_REPORT_IPv6 4
#define RSS_HASH_REPORT_TCPv6 5
#define RSS_HASH_REPORT_UDPv6 6
#define RSS_HASH_REPORT_IPv6_EX 7
#define RSS_HASH_REPORT_TCPv6_EX 8
#define RSS_HASH_REPORT_UDPv6_EX 9

/* VIRTIO_NET_HASH_TUNNEL_TYPE_*: encapsulations whose inner headers are hashed */
#define RSS_TUNNEL_TYPE_GRE_2784 (1U << 0)
#define RSS_TUNNEL_TYPE_GRE_2890 (1U << 1)
#define RSS_TUNNEL_TYPE_GRE_7676 (1U << 2)
#define RSS_TUNNEL_TYPE_GRE_UDP (1U << 3)
#define RSS_TUNNEL_TYPE_VXLAN (1U << 4)
#define RSS_TUNNEL_TYPE_VXLAN_GPE (1U << 5)
#define RSS_TUNNEL_TYPE_GENEVE (1U << 6)
#define RSS_TUNNEL_TYPE_IPIP (1U << 7)
#define RSS_TUNNEL_TYPE_NVGRE (1U << 8)
#define RSS_TUNNEL_TYPES 0x1ffU

/* What is asked of a classification; a program makes one on its stack. */
struct rss_rules {
	__u32 hash_types; /* RSS_HASH_TYPE_* that may be chosen */
	/*
	 * RSS_TUNNEL_TYPE_* whose inner headers are hashed. Where it is the constant 0, the compiler
	 * leaves out all that tunnels need.
	 */
	__u32 tunnel_types;
	/*
	 * 0, out of a map: added to offsets, it is a number that the verifier cannot know, so that
	 * all rounds of a loop look alike to it.
	 */
	__u32 zero;
};

/* What is hashed, in network order and in the specification's order: addresses, then ports. */
struct rss_input {
	/* Room for what lies in front of the addresses, so that one read puts the addresses in place. */
	__be32 start[4];
	__be32 word[RSS_INPUT_WORDS];
	__u32 words; /* how many of them: 2, 3, 8 or 9; 0 means that the packet is not hashed */
	__u32 report; /* RSS_HASH_REPORT_* of the chosen type; NONE if the packet is not hashed */
};

#endif
