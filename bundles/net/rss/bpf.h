/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What these programs need of the BPF UAPI and of libbpf's conventions, declared here so that a
 * clang with the BPF target is all it takes to build them: no kernel headers, no libbpf headers.
 * Numbers and layouts are those of include/uapi/linux/bpf.h, which never change.
 */
#ifndef HOLDFAST_RSS_BPF_H
#define HOLDFAST_RSS_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;

/* libbpf's conventions: sections name a program's type, a map is a struct of such members in .maps. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __ksym __attribute__((section(".ksyms")))

#define __always_inline inline __attribute__((always_inline))

#define BPF_MAP_TYPE_ARRAY 2
#define BPF_F_MMAPABLE (1U << 10)

enum bpf_hdr_start_off {
	BPF_HDR_START_MAC,
	BPF_HDR_START_NET,
};

/*
 * The context; this code only hands it on, so its members do not matter. It is defined all the
 * same: libbpf holds a forward declaration to be incompatible with the kernel's struct.
 */
struct __sk_buff {
	__u32 len;
};

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 len) = (void *)26;
static long (*const bpf_skb_load_bytes_relative)(const void *skb, __u32 offset, void *to, __u32 len,
						 __u32 start_header) = (void *)68;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_ntohl(x) __builtin_bswap32(x)
#else
#define bpf_ntohs(x) ((__u16)(x))
#define bpf_ntohl(x) ((__u32)(x))
#endif
#define bpf_htons(x) bpf_ntohs(x)

/*
 * Hide what the compiler knows about a value. It would drop a mask that it can prove to be
 * superfluous, and the verifier, which proves less, needs exactly that mask.
 */
#define barrier_var(var) asm volatile("" : "+r"(var))

#endif
