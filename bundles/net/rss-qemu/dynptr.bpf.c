// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Headers are read in place through kfuncs of Linux 6.4; ../rss/dynptr.bpf.c says how. */
#include "rss_qemu.h"

struct bpf_dynptr {
	__u64 __opaque[2];
} __attribute__((aligned(8)));

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
/* u64 for what is u32 in some releases: ../rss/dynptr.bpf.c says why that is right for both. */
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

#define RSS_PACKET_OPEN 1
static __always_inline int packet_open(struct packet *packet)
{
	return !bpf_dynptr_from_skb(packet->skb, 0, &packet->data);
}

#include "steer.h"

SEC("socket")
int steer(struct __sk_buff *skb)
{
	struct packet packet;

	packet.skb = skb;
	return queue_of(&packet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
