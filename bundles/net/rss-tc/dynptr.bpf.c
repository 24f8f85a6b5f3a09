// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receive-side scaling in a tc classifier, through the kfuncs bpf_dynptr_from_skb and bpf_dynptr_slice
 * (Linux 6.4): headers are read in place.
 */
#define RSS_DATA_AT_MAC 1
#include "../rss/types.h"

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_F_NO_PREALLOC (1U << 0)

struct bpf_dynptr {
	__u64 __opaque[2];
} __attribute__((aligned(8)));

/* Sizes are declared as in net/rss: right for the releases that have u32 and for those that have u64. */
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
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

#include "direct.h"

SEC("tc")
int rss_tc(struct __sk_buff *skb)
{
	struct packet packet;

	packet.skb = skb;
	return direct(&packet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
