/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet_read() through the kfuncs bpf_dynptr_from_skb and bpf_dynptr_slice (Linux 6.4): headers are read in
 * place where they lie in the linear part of the skb, and copied only where they do not. Include types.h first.
 * With RSS_PACKET_OPEN defined the dynptr is made by packet_open(), when a first look was not enough.
 */
#ifndef HOLDFAST_RSS_READ_DYNPTR_H
#define HOLDFAST_RSS_READ_DYNPTR_H

struct bpf_dynptr {
	__u64 __opaque[2];
} __attribute__((aligned(8)));

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
/*
 * Offset and size are u32 in some releases and u64 in others; declared u64, the registers that
 * are passed are right for both, and libbpf holds all integers to be compatible.
 */
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u64 offset, void *buffer, __u64 size) __ksym;

struct packet {
	struct __sk_buff *skb;
	struct bpf_dynptr data;
};

static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	*at = bpf_dynptr_slice(&packet->data, offset, buffer, size);
	return *at != 0;
}

#ifdef RSS_PACKET_OPEN
static __always_inline int packet_open(struct packet *packet)
{
	return !bpf_dynptr_from_skb(packet->skb, 0, &packet->data);
}
#endif

#endif
