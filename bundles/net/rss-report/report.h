/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interface of the bundle net/rss-report, version 1: three maps with the settings, whose meaning ../rss/rss.h
 * tells, one map more, two programs, and the prefix that frames carry to whoever reads the TAP. All of it is
 * a contract: a change of layout takes a new bundle version.
 *
 *	report	tc, on the TAP's egress: hashes the frame, puts the prefix in front of it, chooses its queue
 *	steer	the TAP's steering program: hands on that queue, or finds it for a frame that came past tc
 */
#ifndef HOLDFAST_RSS_REPORT_H
#define HOLDFAST_RSS_REPORT_H

#include "../rss/rss.h"

#define REPORT_FLAG_VLAN 1 /* a tag in the skb's metadata: the TAP puts it between prefix and frame */
#define REPORT_FLAG_GSO 2 /* a frame to be segmented: what is read may be a part of it */
#define REPORT_LENGTH_MAX 0xffff /* this length, or more */

/*
 * The first 12 bytes of a frame that `report` saw, in little-endian order, before the MAC header. 12, because
 * the TAP inserts a tag at byte 12 of whatever it is given (tun_put_user()).
 *
 * A frame that came past tc (PACKET_QDISC_BYPASS, XDP_REDIRECT), or that has no room for a prefix, arrives
 * without. The cookie, a secret of the reader's, and the length tell the two apart.
 */
struct report_prefix {
	__u32 hash_value; /* 0 if the frame is not hashed, and perhaps if it is */
	__u8 hash_report; /* VIRTIO_NET_HASH_REPORT_* */
	__u8 flags; /* REPORT_FLAG_* */
	__u16 length; /* bytes of the frame, without prefix and without a tag in the metadata */
	__u32 cookie;
};

/* Filled before `report` is attached. All zero, as created, makes prefixes with the cookie 0. */
struct report_config {
	struct report_prefix prefix; /* what every prefix begins as: the cookie, and zeros */
	__u32 reserved; /* 0 */
};

_Static_assert(sizeof(struct report_prefix) == 12, "layout is a contract");
_Static_assert(sizeof(struct report_config) == 16, "layout is a contract");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct report_config);
} report_config SEC(".maps");

#endif
