/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet_read() by plain loads out of the kernel's struct sk_buff and its data, by way of the kfuncs
 * bpf_cast_to_kern_ctx and bpf_rdonly_cast (Linux 6.2), which cost no instruction but a move. Bytes that are not
 * in the linear part of the skb come through bpf_skb_load_bytes(). Include types.h first.
 */
#ifndef HOLDFAST_RSS_READ_CAST_H
#define HOLDFAST_RSS_READ_CAST_H

extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/* The members that are used; libbpf finds where the running kernel has them. */
struct sk_buff {
	unsigned int len;
	unsigned int data_len;
	__u16 mac_header;
	unsigned char *head;
	unsigned char *data;
};

/*
 * A struct of the UAPI (linux/socket.h), so of one layout for good, which has 126 bytes that may be anything, behind
 * two others: what a verifier lets loads of any size read.
 */
struct __kernel_sockaddr_storage {
	char __data[126];
};
#pragma clang attribute pop

#define CAST_MAC_BYTES 14 /* of the header of a frame without tags */
#define CAST_BYTES_AT 2
#define CAST_TYPE __builtin_btf_type_id(*(struct __kernel_sockaddr_storage *)0, 1 /* the kernel's */)

struct packet {
	struct __sk_buff *skb;
	__u64 data; /* the address of the first byte that the program sees */
	__u64 mac; /* the address of the MAC header, which lies before that in BPF_PROG_TEST_RUN */
	__u64 linear; /* bytes from `data` on that are there at that address */
	int by_helper; /* a constant: how packet_read() reads */
	long long cut; /* below 0: not all was seen; the linear part ended, or there are many headers */
};

/*
 * The same in two instructions that leave a number: what recent verifiers (seen on 6.18) hold for a pointer, they
 * would follow through each sum, and tell apart what differs in offsets alone.
 */
static __always_inline __u64 as_number(const void *pointer)
{
	__u64 number = (__u64)pointer;

	asm volatile("%[number] = -%[number]\n"
		     "%[number] = -%[number]\n"
		     : [number] "+r"(number));
	return number;
}

static __always_inline void packet_find(struct packet *packet, struct __sk_buff *context)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(context);

	packet->skb = context;
	packet->data = as_number(skb->data);
	packet->mac = as_number(skb->head) + skb->mac_header;
	packet->linear = skb->len - skb->data_len;
	packet->by_helper = 0;
	packet->cut = 0;
}

/* Up to 126 bytes at an address of the kernel. A wrong one gives zeros: such loads cannot fault. */
static __always_inline const void *bytes_at(__u64 address)
{
	return bpf_rdonly_cast((const void *)(address - CAST_BYTES_AT), CAST_TYPE) + CAST_BYTES_AT;
}

/* Few, so that verifiers have time for both ways of reading; packet_read() by helper looks at all of them. */
#define ROUNDS(packet, most) ((packet)->by_helper ? (most) : 4)
#define OUT_OF_ROUNDS(packet) ((packet)->cut = -1)

/*
 * In place, and nothing beyond the linear part, or by helper. Not a bit of each, as a verifier cannot merge what
 * it knows of the two ways, and would walk all combinations of them.
 */
static __always_inline int packet_read(struct packet *packet, __u32 offset, void *buffer, __u32 size,
				       const void **at)
{
	__u64 behind;

	if (packet->by_helper) {
		*at = buffer;
		return !bpf_skb_load_bytes(packet->skb, offset, buffer, size);
	}
	behind = packet->linear - offset - size;
	/* A comparison of the two would teach verifiers a range of each, and `cut` = 1 a path of its own. */
	barrier_var(behind);
	packet->cut |= behind;
	barrier_var(behind);
	if ((long long)behind < 0)
		return 0;
	*at = bytes_at(packet->data + offset);
	return 1;
}

#define RSS_PACKET_START 1
/* In BPF_PROG_TEST_RUN data begins behind the MAC header, which is in front of it all the same. */
static __always_inline int packet_start(struct packet *packet, __u32 *offset, __u16 *proto)
{
	const __u16 *at;
	__u16 buffer;

	if (packet->data - packet->mac == CAST_MAC_BYTES) {
		*offset = 0;
		*proto = *(const volatile __u16 *)(bytes_at(packet->mac) + CAST_MAC_BYTES - 2);
		return 1;
	}
	if (!packet_read(packet, CAST_MAC_BYTES - 2, &buffer, sizeof(buffer), (const void **)&at))
		return 0;
	*offset = CAST_MAC_BYTES;
	*proto = *at;
	return 1;
}

#endif
