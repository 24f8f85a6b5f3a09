/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* packet_read() through the helper bpf_skb_load_bytes(), which every kernel has. Include types.h first. */
#ifndef HOLDFAST_RSS_READ_HELPERS_H
#define HOLDFAST_RSS_READ_HELPERS_H

struct packet {
	struct __sk_buff *skb;
};

/*
 * The pointer is never null, whatever the answer: old verifiers (5.10) lose track of a pointer that
 * is null or not depending on the helper's answer when clang asks for the answer twice.
 */
static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	*at = buffer;
	return !bpf_skb_load_bytes(packet->skb, offset, buffer, size);
}

#endif
