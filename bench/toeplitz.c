// SPDX-License-Identifier: Apache-2.0
/*
 * The Toeplitz hash as it is written where nobody makes tables: for each set bit of the input, XOR the 32 bits
 * of the key that begin there. Reads a key of 40 bytes, the size of a tuple (at most 36), how often to go
 * over them, and the tuples from standard input; prints ns of CPU time for each tuple, and the XOR of the hashes
 * of one round, to compare.
 *
 *	toeplitz KEY-HEX TUPLE-BYTES ROUNDS < TUPLES
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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

int main(int argc, char **argv)
{
	uint8_t key[40];
	unsigned int size, rounds;
	struct timespec begin, end;
	volatile uint32_t all = 0;
	size_t count = 0, held = 1 << 22;
	uint8_t *tuples = malloc(held);
	double best = 1e30;

	if (argc != 4 || !tuples)
		return 2;
	for (int i = 0; i < 40; i++)
		if (sscanf(argv[1] + 2 * i, "%2hhx", &key[i]) != 1)
			return 2;
	size = atoi(argv[2]);
	rounds = atoi(argv[3]);
	if (size < 1 || size > 36)
		return 2;
	count = fread(tuples, 1, held, stdin) / size;
	if (!count)
		return 2;
	for (unsigned int round = 0; round < rounds; round++) {
		uint32_t sum = 0;
		double took;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
		for (size_t i = 0; i < count; i++)
			sum ^= toeplitz(key, tuples + i * size, size);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		all = sum;
		took = (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec);
		if (took / count < best)
			best = took / count;
	}
	printf("%.2f %u\n", best, all);
	free(tuples);
	return 0;
}
