// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The headers of net/rss in a program with other maps, as hash reporting uses them: what is hashed, its whole
 * hash and its report go into a map. Compiled by the tests alone.
 */
#define RSS_DATA_AT_MAC 1
#include "../../../bundles/net/rss/types.h"

struct packet {
	struct __sk_buff *skb;
};

static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	*at = buffer;
	return !bpf_skb_load_bytes(packet->skb, offset, buffer, size);
}

#include "../../../bundles/net/rss/classify.h"
#include "../../../bundles/net/rss/toeplitz.h"

struct question {
	struct rss_rules rules;
	__u32 row[RSS_KEY_ROWS][16];
};

struct answer {
	__u32 hash;
	struct rss_input in;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct question);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer);
} answers SEC(".maps");

SEC("tc")
int tell(struct __sk_buff *skb)
{
	struct packet packet = { .skb = skb };
	struct question *question;
	struct answer *answer;
	struct rss_rules rules;
	struct rss_input in = {};
	__u32 zero = 0;

	question = bpf_map_lookup_elem(&questions, &zero);
	answer = bpf_map_lookup_elem(&answers, &zero);
	if (!question || !answer)
		return 1;
	rules = question->rules;
	classify(&packet, &rules, &in);
	answer->hash = toeplitz(question->row, &in);
	answer->in = in;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
