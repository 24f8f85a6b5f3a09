// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receive-side scaling through the kfuncs bpf_cast_to_kern_ctx and bpf_rdonly_cast (Linux 6.2): headers are read in
 * place, without a call, where they lie in the linear part of the skb. Needs CAP_PERFMON, since such loads
 * may read all of the kernel's memory.
 */
#include "types.h"

#include "read_cast.h"
#include "steer.h"

SEC("socket")
int steer(struct __sk_buff *skb)
{
	return queue_of(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
