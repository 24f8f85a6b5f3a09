// SPDX-License-Identifier: Apache-2.0
/*
 * Frames to a TAP and out of its queues, as fast as that goes: a burst by sendmmsg, then all queues are read until
 * nothing is left. The descriptors are inherited: a packet socket bound to the TAP, and the queues, which do
 * not block. Reads the frames of a burst from standard input, each behind its length in two bytes, the low one
 * first; prints ns of CPU time for sending and for reading of all bursts, and how many frames were read from each
 * queue.
 *
 *	tap BURSTS SOCKET QUEUE... < FRAMES
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
	return at.tv_sec * 1e9 + at.tv_nsec;
}

int main(int argc, char **argv)
{
	static struct mmsghdr messages[MOST];
	static struct iovec vectors[MOST];
	static uint8_t frames[1 << 22], room[1 << 16];
	int queues = argc - 3, bursts, sender, count = 0;
	double sending = 0, reading = 0;
	size_t got, at;

	if (queues < 1 || queues > 256)
		return 2;
	bursts = atoi(argv[1]);
	sender = atoi(argv[2]);
	got = fread(frames, 1, sizeof(frames), stdin);
	for (at = 0; at + 2 <= got && count < MOST; count++) {
		size_t size = frames[at] | frames[at + 1] << 8;

		vectors[count].iov_base = frames + at + 2;
		vectors[count].iov_len = size;
		messages[count].msg_hdr.msg_iov = &vectors[count];
		messages[count].msg_hdr.msg_iovlen = 1;
		at += 2 + size;
	}
	static long found[256];

	for (int burst = 0; burst < bursts; burst++) {
		double begin = now(), between;
		int done = 0;

		while (done < count) {
			int sent = sendmmsg(sender, messages + done, count - done, 0);

			if (sent <= 0)
				return 3;
			done += sent;
		}
		between = now();
		for (int queue = 0; queue < queues; queue++)
			while (read(atoi(argv[3 + queue]), room, sizeof(room)) > 0)
				found[queue]++;
		sending += between - begin;
		reading += now() - between;
	}
	printf("%.0f %.0f", sending, reading);
	for (int queue = 0; queue < queues; queue++)
		printf(" %ld", found[queue]);
	printf("\n");
	return 0;
}
