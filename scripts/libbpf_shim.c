// SPDX-License-Identifier: Apache-2.0
/*
 * libbpf hands its print callback a va_list, which no foreign-function interface can read
 * portably. This formats the message and passes on a plain (level, text) pair.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbpf.h"

typedef void (*holdfast_print_fn)(int level, const char *text);

static holdfast_print_fn print_to;

/* libbpf says tens of thousands of debug words about one object: drop them before they are formatted. */
static _Thread_local int print_most = LIBBPF_INFO;

static int format_and_pass(enum libbpf_print_level level, const char *format, va_list args)
{
	holdfast_print_fn callback = __atomic_load_n(&print_to, __ATOMIC_ACQUIRE);
	char small[512], *text = small;
	va_list again;
	int length;

	if (!callback || (int)level > print_most)
		return 0;
	va_copy(again, args);
	length = vsnprintf(small, sizeof(small), format, args);
	/* A verifier log arrives as one message of up to 16 MiB: allocate for what does not fit. */
	if (length >= (int)sizeof(small)) {
		text = malloc((size_t)length + 1);
		if (text)
			vsnprintf(text, (size_t)length + 1, format, again);
		else
			text = small;
	}
	va_end(again);
	if (length >= 0)
		callback((int)level, text);
	if (text != small)
		free(text);
	return length;
}

/* Passes every later message of libbpf to callback, in the thread that called libbpf; NULL: to nobody. */
__attribute__((visibility("default"))) void holdfast_set_print(holdfast_print_fn callback)
{
	__atomic_store_n(&print_to, callback, __ATOMIC_RELEASE);
	libbpf_set_print(format_and_pass);
}

/* Lets messages up to this level through in the calling thread (0 warnings, 1 information, 2 debug). */
__attribute__((visibility("default"))) void holdfast_set_print_level(int most)
{
	print_most = most;
}
