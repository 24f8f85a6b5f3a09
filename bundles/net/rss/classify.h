/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a frame to the input of its hash, by the rules of the virtio specification, section "Hash
 * calculation for incoming packets" of the network device.
 *
 * A program includes this after it has defined
 *	struct packet, with the member `struct __sk_buff *skb`, and
 *	packet_read(packet, offset, buffer, size, &at): let `at` be where the `size` bytes are that
 *	lie `offset` bytes from the first one that the program sees of the frame, in `buffer` or in
 *	place; false when they are not all there. It must reach data outside the linear part of an
 *	skb too.
 *	RSS_PACKET_OPEN, where packet_open(packet) makes the packet ready for packet_read(); most packets are
 *	classified without it,
 *	RSS_DATA_AT_MAC, where that first byte is the MAC header's in BPF_PROG_TEST_RUN as well (tc),
 *	RSS_PACKET_START, where packet_start(packet, &offset, &proto) knows better ways to tell the EtherType
 *	and the offset behind it, and calls
 *	classify(packet, &rules, &input), which says what to hash and as what it is reported. Neither
 *	maps nor keys are used here; toeplitz.h makes the hash.
 *
 * What the specification leaves open is settled here, and told again in docs/rss.md:
 *  - The packet ends where its IP length says, so padding is no TCP header. A length of 0 (jumbo
 *    payload, aggregates of more than 64 KiB) means the rest of the frame.
 *  - "Has a TCP header" means that the two ports are there; nothing else of it is hashed.
 *  - A fragment (not an atomic one, RFC 6946) has no TCP or UDP header, the first included: all
 *    fragments of a packet go to one queue. Nothing behind such a fragment header is looked at.
 *  - Extension headers are those of IANA's registry, save the two for experiments. ESP is one,
 *    and ends the walk.
 *  - A routing header of type 2 counts if it is well-formed and not used up (RFC 6275, 6.4.1:
 *    length 2, one segment left). No packet may have two, or two home address options; of those
 *    that do, the last one counts.
 *  - At most RSS_MAX_EXTENSIONS headers and RSS_MAX_OPTIONS options in each are looked at; a
 *    packet with more of them has no TCP or UDP header.
 *  - Two VLAN tags at most, with the one that the kernel took out of the frame, if it did.
 * What it leaves open about tunnels is settled in tunnel.h.
 */
#ifndef HOLDFAST_RSS_CLASSIFY_H
#define HOLDFAST_RSS_CLASSIFY_H

#include "types.h"

#define RSS_MAX_EXTENSIONS 8
#define RSS_MAX_OPTIONS 16
#define RSS_MAX_TAGS 2

#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_8021Q 0x8100
#define ETH_P_IPV6 0x86DD
#define ETH_P_8021AD 0x88A8

#define IPPROTO_HOPOPTS 0
#define IPPROTO_IPIP 4
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_GRE 47
#define IPPROTO_ESP 50
#define IPPROTO_AH 51
#define IPPROTO_NONE 59
#define IPPROTO_DSTOPTS 60
#define IPPROTO_MH 135
#define IPPROTO_HIP 139
#define IPPROTO_SHIM6 140

#define IPV4_FRAGMENT 0x3fff /* of frag_off: more fragments, or an offset; not "don't fragment" */

#define IPV6_TLV_PAD1 0
#define IPV6_TLV_HAO 201 /* home address option, RFC 6275, 6.3 */

/* 14 bytes and 2 of padding that nobody reads: packed, it would be compared two bytes at a time. */
struct mac_header {
	__u32 address[3];
	__be16 proto;
};

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

/* The member of struct __sk_buff that is used here, at the UAPI's offset. */
struct tag_context {
	__u32 others[5];
	__u32 vlan_present;
};

_Static_assert(__builtin_offsetof(struct tag_context, vlan_present) == 20, "struct __sk_buff");

struct ipv4_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__be16 check;
	__be32 address[2];
};

struct ipv6_header {
	__u8 version;
	__u8 flow[3];
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	__be32 address[8];
};

struct ipv6_address {
	__be32 word[4];
};

/* The first eight bytes, which every extension header has, as the headers that matter see them. */
struct extension {
	__u8 nexthdr;
	__u8 len;
	union {
		struct {
			__u8 type;
			__u8 segments_left;
		} routing;
		__be16 frag_off;
	};
	__u8 rest[4];
};

struct ports {
	__be32 both;
};

/* Where a network header is; offsets count from the first byte that the program sees. */
struct layer {
	__u32 l3;
	__u32 limit; /* where the packet that it is part of ends, as far as is known */
	__be16 proto; /* its EtherType; 0 if there is none that can be hashed */
};

/*
 * How many headers, or options, are looked at; a program may look at fewer if it finds out, by OUT_OF_ROUNDS,
 * that there may be more, and begins again.
 */
#ifndef ROUNDS
#define ROUNDS(packet, most) (most)
#define OUT_OF_ROUNDS(packet)
#endif

#define RSS_NO_LIMIT 0x3ffff /* behind every offset that can be */

/* packet_read() of as much as `buffer` holds. */
#define READ(packet, offset, buffer, at) packet_read(packet, offset, &(buffer), sizeof(buffer), (const void **)&(at))

/*
 * Give an offset the same range, 0 to 0xffff, after each round of a loop, whatever was added to it.
 * With ranges that grow, the verifier predicts comparisons, must then tell each round's state from
 * all others, and walks all paths of all rounds: more than its limit of a million instructions.
 * The largest honest offset, 8 headers of 2048 bytes, is far below the mask.
 */
static __always_inline __u32 bounded(__u32 offset, __u32 zero)
{
	__u64 wide = (__u64)offset + zero;

	barrier_var(wide);
	return wide & 0xffff;
}

/* The same for where a packet ends. */
static __always_inline __u32 bounded_end(__u32 end, __u32 zero)
{
	__u64 wide = (__u64)end + zero;

	barrier_var(wide);
	return wide & RSS_NO_LIMIT;
}

/*
 * From the EtherType `proto`, behind which `offset` is, over the VLAN tags, if any, to the network header.
 */
static __always_inline void skip_tags(struct packet *packet, __u32 offset, __be16 proto, struct layer *layer)
{
	struct vlan_tag tag;
	const struct vlan_tag *t;

#pragma clang loop unroll(full)
	for (int i = 0; i < RSS_MAX_TAGS; i++) {
		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (!READ(packet, offset, tag, t)) {
			proto = 0;
			break;
		}
		proto = t->proto;
		offset += sizeof(tag);
	}
	layer->l3 = offset;
	layer->proto = proto;
}

/*
 * Find the network header by the frame's own bytes. skb->protocol and the skb's network header are what
 * the sender said, and differ between kernels for a tag inside the frame (Linux commit dfed913e8b55
 * ("net/af_packet: add VLAN support for AF_PACKET SOCK_RAW GSO") (in v6.0) moved the header behind the
 * tags). A tag that the kernel took out of the frame is in its metadata, and nothing is to be skipped.
 *
 * Data begins at the MAC header when a TAP runs the program, and behind it in BPF_PROG_TEST_RUN.
 * No field that a socket filter may read tells which, so compare: the bytes at offset 0 are the
 * MAC header or they are not. On a TAP they always are, so a crafted packet cannot confuse this.
 */
static __always_inline void network_header(struct packet *packet, struct layer *layer)
{
	const struct tag_context *context = (const struct tag_context *)packet->skb;
	__u32 offset = ETH_HLEN;
	__be16 proto;

#ifdef RSS_PACKET_START
	if (!packet_start(packet, &offset, &proto))
		return;
#elif defined(RSS_DATA_AT_MAC)
	struct mac_header buffer;
	const struct mac_header *mac;

	if (!packet_read(packet, 0, &buffer, ETH_HLEN, (const void **)&mac))
		return;
	proto = mac->proto;
#else
	struct mac_header mac, seen;
	const struct mac_header *first;

	if (bpf_skb_load_bytes_relative(packet->skb, 0, &mac, ETH_HLEN, BPF_HDR_START_MAC))
		return;
	if (!packet_read(packet, 0, &seen, ETH_HLEN, (const void **)&first) || first->address[0] != mac.address[0] ||
	    first->address[1] != mac.address[1] || first->address[2] != mac.address[2] || first->proto != mac.proto)
		offset = 0;
	proto = mac.proto;
#endif
	skip_tags(packet, offset, proto, layer);
	/* A tag in the metadata counts: whoever reads the TAP finds all of them in the frame. */
	if (layer->l3 == offset + RSS_MAX_TAGS * sizeof(struct vlan_tag) && context->vlan_present)
		layer->proto = 0;
}

static __always_inline void classify_ipv4(struct packet *packet, __u32 l3, __u32 limit, __u32 types,
					  struct rss_input *in)
{
	struct ipv4_header buffer;
	const struct ipv4_header *ip;
	struct ports ports_buffer;
	const struct ports *ports;
	__u32 header_len, len, l4_type = 0, report = 0;

	if (l3 + sizeof(buffer) > limit || !READ(packet, l3, buffer, ip))
		return;
	header_len = (ip->version_ihl & 15) * 4;
	len = bpf_ntohs(ip->tot_len);
	if (ip->version_ihl >> 4 != 4 || header_len < sizeof(*ip) || (len && len < sizeof(*ip)))
		return;

	if (ip->protocol == IPPROTO_TCP) {
		l4_type = RSS_HASH_TYPE_TCPv4;
		report = RSS_HASH_REPORT_TCPv4;
	} else if (ip->protocol == IPPROTO_UDP) {
		l4_type = RSS_HASH_TYPE_UDPv4;
		report = RSS_HASH_REPORT_UDPv4;
	}
	in->word[0] = ip->address[0];
	in->word[1] = ip->address[1];

	if (types & l4_type && !(ip->frag_off & bpf_htons(IPV4_FRAGMENT)) &&
	    (!len || header_len + sizeof(*ports) <= len) && l3 + header_len + sizeof(*ports) <= limit &&
	    READ(packet, l3 + header_len, ports_buffer, ports)) {
		in->word[2] = ports->both;
		in->words = 3;
		in->report = report;
		return;
	}
	if (types & RSS_HASH_TYPE_IPv4) {
		in->words = 2;
		in->report = RSS_HASH_REPORT_IPv4;
	}
}

static __always_inline int is_extension(__u8 nexthdr)
{
	switch (nexthdr) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_ESP:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case IPPROTO_HIP:
	case IPPROTO_SHIM6:
		return 1;
	}
	return 0;
}

/* What the walk over the extension headers finds; offsets count from the IPv6 header. */
struct walk {
	__u32 end; /* where the packet ends, as far as its length says */
	__u32 source; /* the address to hash first: the home address, if there is one */
	__u32 destination; /* the one to hash second: that of the routing header, if there is one */
	__u32 l4; /* where the first header that is no extension begins */
	__u32 zero; /* for bounded() */
	__u8 nexthdr; /* of that header; IPPROTO_NONE if it cannot be reached */
};

/* Look for home addresses in the options from `at` up to `end`. */
static __always_inline void walk_options(struct packet *packet, __u32 l3, __u32 at, __u32 end, struct walk *walk)
{
	struct {
		__u8 type;
		__u8 len;
	} buffer;
	struct {
		__u8 type;
		__u8 len;
		__u8 address[sizeof(struct ipv6_address)]; /* an unaligned one: nothing between */
	} whole;

#pragma clang loop unroll(disable)
	for (int i = 0; i < ROUNDS(packet, RSS_MAX_OPTIONS); i++) {
		const typeof(buffer) *option;
		const typeof(whole) *entry;
		__u32 next;

		/* One byte may be left, a Pad1: there is nothing behind it, so it need not be read. */
		if (at + sizeof(*option) > end)
			return;
		if (!READ(packet, l3 + at, buffer, option))
			return;
		next = at + sizeof(*option) + option->len;
		if (option->type == IPV6_TLV_PAD1)
			next = at + 1;
		if (option->type == IPV6_TLV_HAO && option->len == sizeof(struct ipv6_address) && next <= end &&
		    READ(packet, l3 + at, whole, entry))
			walk->source = bounded(at + sizeof(*option), walk->zero);
		at = bounded(next, walk->zero);
	}
	OUT_OF_ROUNDS(packet);
}

static __always_inline void walk_extensions(struct packet *packet, __u32 l3, __u32 types, struct walk *walk)
{
	struct extension buffer;
	struct {
		struct extension header;
		struct ipv6_address address;
	} routing;
	const typeof(routing) *whole;

#pragma clang loop unroll(disable)
	for (int i = 0; i < ROUNDS(packet, RSS_MAX_EXTENSIONS); i++) {
		const struct extension *header;
		__u32 at = walk->l4, end;
		__u8 this = walk->nexthdr;

		if (!is_extension(this))
			return;
		walk->nexthdr = IPPROTO_NONE;
		if (this == IPPROTO_ESP || at + sizeof(buffer) > walk->end)
			return;
		if (!READ(packet, l3 + at, buffer, header))
			return;
		end = at + (header->len + 1) * 8;
		if (this == IPPROTO_AH)
			end = at + (header->len + 2) * 4;
		if (this == IPPROTO_FRAGMENT) {
			/* More fragments, or an offset. */
			if (header->frag_off & bpf_htons(0xfff9))
				return;
			end = at + sizeof(*header);
		}
		walk->nexthdr = header->nexthdr;
		if (this == IPPROTO_ROUTING && types & RSS_HASH_TYPE_EX && header->routing.type == 2 &&
		    header->len == 2 && header->routing.segments_left == 1 && end <= walk->end &&
		    READ(packet, l3 + at, routing, whole))
			walk->destination = bounded(at + sizeof(*header), walk->zero);
		if (this == IPPROTO_DSTOPTS && types & RSS_HASH_TYPE_EX)
			walk_options(packet, l3, at + 2, end < walk->end ? end : walk->end, walk);
		walk->l4 = bounded(end, walk->zero);
	}
	OUT_OF_ROUNDS(packet);
}

static __always_inline void copy_address(struct packet *packet, __u32 offset, __be32 *to)
{
	struct ipv6_address buffer;
	const struct ipv6_address *address;

	if (!READ(packet, offset, buffer, address))
		return;
	to[0] = address->word[0];
	to[1] = address->word[1];
	to[2] = address->word[2];
	to[3] = address->word[3];
}

static __always_inline void classify_ipv6(struct packet *packet, __u32 l3, __u32 limit, const struct rss_rules *rules,
					  struct rss_input *in)
{
	struct ipv6_header buffer;
	const struct ipv6_header *ip;
	struct ports ports_buffer;
	const struct ports *ports;
	struct walk walk = {
		.source = __builtin_offsetof(struct ipv6_header, address[0]),
		.destination = __builtin_offsetof(struct ipv6_header, address[4]),
		.l4 = sizeof(*ip),
		.zero = rules->zero,
	};
	__u32 types = rules->hash_types, len, base = 0, ex = 0, report = 0;
	int extended, has_ports = 0;

	if (l3 + sizeof(buffer) > limit || !READ(packet, l3, buffer, ip) || ip->version >> 4 != 6)
		return;
	len = bpf_ntohs(ip->payload_len);
	walk.end = len ? sizeof(*ip) + len : RSS_NO_LIMIT;
	if (walk.end > limit - l3)
		walk.end = limit - l3;
	walk.end = bounded_end(walk.end, walk.zero);
	walk.nexthdr = ip->nexthdr;

	extended = is_extension(walk.nexthdr);
	if (extended)
		walk_extensions(packet, l3, types, &walk);

	if (walk.nexthdr == IPPROTO_TCP) {
		base = RSS_HASH_TYPE_TCPv6;
		ex = RSS_HASH_TYPE_TCP_EX;
		report = RSS_HASH_REPORT_TCPv6;
	} else if (walk.nexthdr == IPPROTO_UDP) {
		base = RSS_HASH_TYPE_UDPv6;
		ex = RSS_HASH_TYPE_UDP_EX;
		report = RSS_HASH_REPORT_UDPv6;
	}
	if (!extended)
		ex = 0;
	if (types & (base | ex) && walk.l4 + sizeof(*ports) <= walk.end &&
	    READ(packet, l3 + walk.l4, ports_buffer, ports)) {
		in->word[8] = ports->both;
		has_ports = 1;
	}

	if ((has_ports && types & ex) || (extended && types & RSS_HASH_TYPE_IP_EX)) {
		copy_address(packet, l3 + walk.source, &in->word[0]);
		copy_address(packet, l3 + walk.destination, &in->word[4]);
		if (has_ports && types & ex) {
			in->words = 9;
			in->report = report + RSS_HASH_REPORT_IPv6_EX - RSS_HASH_REPORT_IPv6;
		} else {
			in->words = 8;
			in->report = RSS_HASH_REPORT_IPv6_EX;
		}
		return;
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++)
		in->word[i] = ip->address[i];
	if (has_ports && types & base) {
		in->words = 9;
		in->report = report;
	} else if (types & RSS_HASH_TYPE_IPv6) {
		in->words = 8;
		in->report = RSS_HASH_REPORT_IPv6;
	}
}

#if defined(RSS_TUNNEL) && !defined(RSS_NO_FAST)
#define RSS_NO_FAST
#endif
#ifndef RSS_NO_FAST
#include "fast.h"
#endif
#include "tunnel.h"

/* Say what to hash of a packet, whatever `in` holds before. */
static __always_inline void classify(struct packet *packet, const struct rss_rules *rules, struct rss_input *in)
{
	struct layer layer = { .limit = RSS_NO_LIMIT };

	/*
	 * Not where tunnels are looked for: verifiers would walk more paths than their limit allows when the
	 * program is built with -mcpu=v4.
	 */
#ifndef RSS_NO_FAST
	if (classify_fast(packet, rules, in))
		return;
#endif
	__builtin_memset(in, 0, sizeof(*in));
#ifdef RSS_PACKET_OPEN
	if (!packet_open(packet))
		return;
#endif
	network_header(packet, &layer);
	/* One number, not one of six, each of which verifiers would follow through all that comes. */
	layer.l3 = bounded(layer.l3, rules->zero);
	if (rules->tunnel_types)
		enter_tunnel(packet, rules, &layer);
	if (layer.proto == bpf_htons(ETH_P_IP))
		classify_ipv4(packet, layer.l3, layer.limit, rules->hash_types, in);
	else if (layer.proto == bpf_htons(ETH_P_IPV6))
		classify_ipv6(packet, layer.l3, layer.limit, rules, in);
}

#endif
