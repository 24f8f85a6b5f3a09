// SPDX-License-Identifier: Apache-2.0
/*
 * The Toeplitz hash as it is written where nobody makes tables: for each set bit of the input, XOR the 32 bits
 * of the key that begin there. Reads a key of 40 bytes, the size of a tuple (at most 36), how often to go
 * over them, and the tuples from standard input; prints ns of CPU time for each tuple, and the XOR of the hashes
 * of one round, to compare.
 *
 * With 0 for the size, what is read are frames, each behind its length in two bytes, the low one first. Each is
 * parsed: Ethernet, IPv4 with options or IPv6 without extension headers, no fragment, TCP or UDP; and gets a
 * struct virtio_net_hdr_v1_hash of 20 bytes. What is printed then includes that, and the XOR is of hashes and
 * report types, the latter 24 bits to the left.
 *
 *	toeplitz KEY-HEX TUPLE-BYTES ROUNDS < TUPLES
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADER 20

static uint32_t toeplitz(const uint8_t *key, const uint8_t *input, unsigned int size)
{
	uint64_t window = 0;
	uint32_t hash = 0;

	for (int i = 0; i < 8; i++)
		window = window << 8 | key[i];
	for (unsigned int at = 0; at < size; at++) {
		uint8_t left = input[at];

		while (left) {
			int bit = __builtin_clz(left) - 24;

			hash ^= window >> (32 - bit);
			left &= ~(0x80 >> bit);
		}
		window = window << 8 | (at + 8 < 40 ? key[at + 8] : 0);
	}
	return hash;
}

static unsigned int be16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

/* The report type, and the hash; 0 if the frame is none of those above. */
static unsigned int classify(const uint8_t *key, const uint8_t *frame, unsigned int size, uint32_t *hash)
{
	const uint8_t *ip = frame + 14;
	uint8_t input[36];
	unsigned int length, at, addresses;

	if (size < 14)
		return 0;
	if (be16(frame + 12) == 0x0800) {
		if (size < 34 || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
			return 0;
		at = 4 * (ip[0] & 15);
		length = be16(ip + 2);
		if (be16(ip + 6) & 0x3fff || (ip[9] != 6 && ip[9] != 17) || 14 + at + 4 > size ||
		    (length && length < at + 4))
			return 0;
		addresses = 8;
		memcpy(input, ip + 12, 8);
	} else if (be16(frame + 12) == 0x86dd) {
		if (size < 58 || ip[0] >> 4 != 6 || (ip[6] != 6 && ip[6] != 17))
			return 0;
		length = be16(ip + 4);
		if (length && length < 4)
			return 0;
		at = 40;
		addresses = 32;
		memcpy(input, ip + 8, 32);
	} else {
		return 0;
	}
	memcpy(input + addresses, ip + at, 4);
	*hash = toeplitz(key, input, addresses + 4);
	return (addresses == 8 ? 2 : 5) + (ip[addresses == 8 ? 9 : 6] == 17);
}

static uint32_t parse(const uint8_t *key, const uint8_t *frames, size_t count, uint8_t *headers)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		unsigned int size = frames[0] | frames[1] << 8, report;
		uint8_t *header = headers + i * HEADER;
		uint32_t hash = 0;

		report = classify(key, frames + 2, size, &hash);
		memset(header, 0, HEADER);
		memcpy(header + 12, &hash, sizeof(hash));
		header[16] = report;
		sum ^= hash ^ report << 24;
		frames += 2 + size;
	}
	return sum;
}

int main(int argc, char **argv)
{
	uint8_t key[40];
	unsigned int size, rounds;
	struct timespec begin, end;
	volatile uint32_t all = 0;
	size_t count = 0, held = 1 << 27, got;
	uint8_t *input = malloc(held), *headers;
	double best = 1e30;

	if (argc != 4 || !input)
		return 2;
	for (int i = 0; i < 40; i++)
		if (sscanf(argv[1] + 2 * i, "%2hhx", &key[i]) != 1)
			return 2;
	size = atoi(argv[2]);
	rounds = atoi(argv[3]);
	if (size > 36)
		return 2;
	got = fread(input, 1, held, stdin);
	if (size)
		count = got / size;
	else
		for (size_t at = 0; at + 2 <= got; at += 2 + (input[at] | input[at + 1] << 8))
			count++;
	headers = malloc(count * HEADER);
	if (!count || !headers)
		return 2;
	for (unsigned int round = 0; round < rounds; round++) {
		uint32_t sum = 0;
		double took;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
		if (size)
			for (size_t i = 0; i < count; i++)
				sum ^= toeplitz(key, input + i * size, size);
		else
			sum = parse(key, input, count, headers);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		all = sum;
		took = (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec);
		if (took / count < best)
			best = took / count;
	}
	printf("%.2f %u\n", best, all);
	free(headers);
	free(input);
	return 0;
}
