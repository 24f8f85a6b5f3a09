/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From the headers outside to those inside a tunnel, by the rules of the virtio specification, section
 * "Inner Header Hash" of the network device (VIRTIO_NET_F_HASH_TUNNEL), and of the documents that it
 * names. Included by classify.h alone.
 *
 * The specification: a packet whose outer headers match an enabled encapsulation is hashed by its inner
 * headers, all others by their outer ones; one level only.
 *
 * What it leaves open is settled here, and told again in docs/rss.md:
 *  - What matches: IPIP is IPv4 in IPv4 (RFC 2003). GRE over IPv4 is GRE_2890 with a key or a sequence
 *    number, and GRE_2784 without; GRE over IPv6, and IPv6 in GRE, is GRE_7676; a key, nothing else, and
 *    an Ethernet frame is NVGRE (RFC 7637). A packet may match two of these, and one of them has to be
 *    enabled. GRE_UDP, VXLAN, VXLAN_GPE and GENEVE are UDP to the ports of their documents (4754, 4789,
 *    4790, 6081), over IPv4 or IPv6, GRE_UDP with any of the GRE headers above.
 *  - The whole of the tunnel's header must be there, and well-formed: GRE of version 0 without the routing
 *    of RFC 1701 (RFC 2784, 2.3: bits 1, 4 and 5 are 0), VXLAN with its flag I, VXLAN-GPE and GENEVE of
 *    version 0. Control packets of the latter two (flag O) carry nobody's packet, and do not match.
 *  - A fragment matches nothing: only the first would have inner headers.
 *  - What is inside: IPv4, IPv6, or an Ethernet frame with up to two VLAN tags. When it is neither, or
 *    broken, the packet is not hashed; its outer headers are no substitute.
 *  - The inner packet ends where its own length says, and where the outer packet ends.
 */
#ifndef HOLDFAST_RSS_TUNNEL_H
#define HOLDFAST_RSS_TUNNEL_H

#define ETH_P_TEB 0x6558 /* an Ethernet frame */

#define UDP_PORT_GRE 4754
#define UDP_PORT_VXLAN 4789
#define UDP_PORT_VXLAN_GPE 4790
#define UDP_PORT_GENEVE 6081

#define RSS_TUNNEL_TYPES_GRE \
	(RSS_TUNNEL_TYPE_GRE_2784 | RSS_TUNNEL_TYPE_GRE_2890 | RSS_TUNNEL_TYPE_GRE_7676 | RSS_TUNNEL_TYPE_NVGRE)
#define RSS_TUNNEL_TYPES_UDP \
	(RSS_TUNNEL_TYPE_GRE_UDP | RSS_TUNNEL_TYPE_VXLAN | RSS_TUNNEL_TYPE_VXLAN_GPE | RSS_TUNNEL_TYPE_GENEVE)

#define GRE_CSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQ 0x1000
#define GRE_REFUSED 0x4c07 /* routing, bits 4 and 5, and every version but 0 */

#define VXLAN_FLAG_I 0x08
#define VXLAN_GPE_VERSION 0x30
#define VXLAN_GPE_FLAG_P 0x04
#define VXLAN_GPE_FLAG_O 0x01
#define VXLAN_GPE_IPV4 1
#define VXLAN_GPE_IPV6 2
#define VXLAN_GPE_ETHERNET 3

#define GENEVE_VERSION 0xc0
#define GENEVE_FLAG_O 0x80

struct udp_header {
	__be16 source;
	__be16 dest;
	__be16 len;
	__be16 check;
};

struct gre_header {
	__be16 flags;
	__be16 proto;
};

struct vxlan_header {
	__u8 flags;
	__u8 reserved[2];
	__u8 next_protocol;
	__be32 vni;
};

struct geneve_header {
	__u8 version_optlen;
	__u8 flags;
	__be16 proto;
	__be32 vni;
};

/* What carries the tunnel; offsets count from the first byte that the program sees. */
struct outer {
	__u32 l4;
	__u32 end; /* of the packet, as far as its length says */
	__u8 protocol;
	__u8 ipv6;
};

/* Read the outer IP header; false if it is none, or a fragment's. */
static __always_inline int read_outer(struct packet *packet, const struct layer *layer, __u32 zero, struct outer *outer)
{
	__u32 l3 = layer->l3, len;

	if (layer->proto == bpf_htons(ETH_P_IP)) {
		struct ipv4_header buffer;
		const struct ipv4_header *ip;
		__u32 header_len;

		if (!READ(packet, l3, buffer, ip))
			return 0;
		header_len = (ip->version_ihl & 15) * 4;
		len = bpf_ntohs(ip->tot_len);
		if (ip->version_ihl >> 4 != 4 || header_len < sizeof(*ip) || (len && len < sizeof(*ip)) ||
		    ip->frag_off & bpf_htons(IPV4_FRAGMENT))
			return 0;
		outer->protocol = ip->protocol;
		outer->ipv6 = 0;
		outer->l4 = bounded(l3 + header_len, zero);
		outer->end = len ? l3 + len : RSS_NO_LIMIT;
		return 1;
	}
	if (layer->proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6_header buffer;
		const struct ipv6_header *ip;
		struct walk walk = { .l4 = sizeof(*ip), .zero = zero };

		if (!READ(packet, l3, buffer, ip) || ip->version >> 4 != 6)
			return 0;
		len = bpf_ntohs(ip->payload_len);
		walk.end = len ? sizeof(*ip) + len : RSS_NO_LIMIT;
		walk.nexthdr = ip->nexthdr;
		walk_extensions(packet, l3, 0, &walk);
		outer->protocol = walk.nexthdr;
		outer->ipv6 = 1;
		outer->l4 = bounded(l3 + walk.l4, zero);
		outer->end = l3 + walk.end;
		return 1;
	}
	return 0;
}

/*
 * Find where the tunnel's header ends: true if it is of an enabled type and all there; *proto is then the
 * EtherType of what is inside, 0 for anything that cannot be hashed.
 */
static __always_inline int read_tunnel(struct packet *packet, const struct outer *outer, __u32 types, __u32 *inner,
				       __be16 *proto)
{
	__u32 at = outer->l4, end = outer->end, over_udp = 0;
	struct gre_header gre_buffer;
	const struct gre_header *gre;
	__u32 flags, matched = 0;

	if (outer->protocol == IPPROTO_IPIP) {
		*inner = at;
		*proto = bpf_htons(ETH_P_IP);
		return types & RSS_TUNNEL_TYPE_IPIP && !outer->ipv6 && at <= end && at <= packet->skb->len;
	}
	if (outer->protocol == IPPROTO_UDP) {
		struct udp_header udp_buffer;
		const struct udp_header *udp;

		if (!(types & RSS_TUNNEL_TYPES_UDP) || at + sizeof(*udp) > end || !READ(packet, at, udp_buffer, udp))
			return 0;
		at += sizeof(*udp);
		if (udp->dest == bpf_htons(UDP_PORT_VXLAN)) {
			struct vxlan_header vxlan_buffer;
			const struct vxlan_header *vxlan;

			if (!(types & RSS_TUNNEL_TYPE_VXLAN) || at + sizeof(*vxlan) > end ||
			    !READ(packet, at, vxlan_buffer, vxlan) || !(vxlan->flags & VXLAN_FLAG_I))
				return 0;
			*inner = at + sizeof(*vxlan);
			*proto = bpf_htons(ETH_P_TEB);
			return 1;
		}
		if (udp->dest == bpf_htons(UDP_PORT_GENEVE)) {
			struct geneve_header geneve_buffer;
			const struct geneve_header *geneve;

			if (!(types & RSS_TUNNEL_TYPE_GENEVE) || at + sizeof(*geneve) > end ||
			    !READ(packet, at, geneve_buffer, geneve) || geneve->version_optlen & GENEVE_VERSION ||
			    geneve->flags & GENEVE_FLAG_O)
				return 0;
			at += sizeof(*geneve) + (geneve->version_optlen & 0x3f) * 4;
			*inner = at;
			*proto = geneve->proto;
			return at <= end && at <= packet->skb->len;
		}
		if (udp->dest == bpf_htons(UDP_PORT_VXLAN_GPE)) {
			struct vxlan_header vxlan_buffer;
			const struct vxlan_header *vxlan;
			__u8 next = VXLAN_GPE_ETHERNET;

			if (!(types & RSS_TUNNEL_TYPE_VXLAN_GPE) || at + sizeof(*vxlan) > end ||
			    !READ(packet, at, vxlan_buffer, vxlan) ||
			    vxlan->flags & (VXLAN_GPE_VERSION | VXLAN_GPE_FLAG_O))
				return 0;
			/* Without P the field is unused, and the payload an Ethernet frame as in VXLAN. */
			if (vxlan->flags & VXLAN_GPE_FLAG_P)
				next = vxlan->next_protocol;
			*inner = at + sizeof(*vxlan);
			*proto = 0;
			if (next == VXLAN_GPE_ETHERNET)
				*proto = bpf_htons(ETH_P_TEB);
			else if (next == VXLAN_GPE_IPV4)
				*proto = bpf_htons(ETH_P_IP);
			else if (next == VXLAN_GPE_IPV6)
				*proto = bpf_htons(ETH_P_IPV6);
			return 1;
		}
		if (udp->dest != bpf_htons(UDP_PORT_GRE) || !(types & RSS_TUNNEL_TYPE_GRE_UDP))
			return 0;
		over_udp = 1;
	} else if (outer->protocol != IPPROTO_GRE || !(types & RSS_TUNNEL_TYPES_GRE)) {
		return 0;
	}

	if (at + sizeof(*gre) > end || !READ(packet, at, gre_buffer, gre))
		return 0;
	flags = bpf_ntohs(gre->flags);
	if (flags & GRE_REFUSED)
		return 0;
	if (over_udp)
		matched = RSS_TUNNEL_TYPE_GRE_UDP;
	else {
		if (!outer->ipv6)
			matched = flags & (GRE_KEY | GRE_SEQ) ? RSS_TUNNEL_TYPE_GRE_2890 : RSS_TUNNEL_TYPE_GRE_2784;
		if (outer->ipv6 || gre->proto == bpf_htons(ETH_P_IPV6))
			matched |= RSS_TUNNEL_TYPE_GRE_7676;
		if ((flags & (GRE_CSUM | GRE_KEY | GRE_SEQ)) == GRE_KEY && gre->proto == bpf_htons(ETH_P_TEB))
			matched |= RSS_TUNNEL_TYPE_NVGRE;
	}
	at += sizeof(*gre);
	at += flags & GRE_CSUM ? 4 : 0;
	at += flags & GRE_KEY ? 4 : 0;
	at += flags & GRE_SEQ ? 4 : 0;
	*inner = at;
	*proto = gre->proto;
	return types & matched && at <= end && at <= packet->skb->len;
}

/* Let `layer` be the network header inside, if the packet is of an enabled encapsulation. */
static __always_inline void enter_tunnel(struct packet *packet, const struct rss_rules *rules, struct layer *layer)
{
	/*
	 * All zero, though nobody reads them unless something is found: with -mcpu=v3 clang 14 spills
	 * registers that it never set for them, which verifiers refuse. Needless once Debian 12 is gone.
	 */
	struct outer outer = {};
	__u32 inner = 0;
	__be16 proto = 0;

	if (!read_outer(packet, layer, rules->zero, &outer) ||
	    !read_tunnel(packet, &outer, rules->tunnel_types, &inner, &proto))
		return;
	inner = bounded(inner, rules->zero);
	layer->limit = outer.end;
	layer->l3 = inner;
	layer->proto = proto;
	if (proto == bpf_htons(ETH_P_TEB)) {
		struct mac_header buffer;
		const struct mac_header *mac;

		layer->proto = 0;
		if (inner + ETH_HLEN <= layer->limit &&
		    packet_read(packet, inner, &buffer, ETH_HLEN, (const void **)&mac))
			skip_tags(packet, inner + ETH_HLEN, mac->proto, layer);
	}
}

#endif
