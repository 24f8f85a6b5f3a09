// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* net/rss's variant `cast`, which also hashes the inner headers of tunnels: see ../rss/tunnel.h. */
#define RSS_TUNNEL 1
#include "../rss/cast.bpf.c"
