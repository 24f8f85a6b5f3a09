# SPDX-License-Identifier: Apache-2.0
"""C sources of the small objects that the live tests load, and their compilation."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from holdfast import sys as kernel

__all__ = ["COMMON", "GOOD", "MIXED", "PINNED", "STRUCT_OPS", "compile_object", "gone"]

COMMON = """
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
typedef unsigned int __u32;
typedef unsigned long long __u64;
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
char LICENSE[] SEC("license") = "GPL";
"""

GOOD = (
    COMMON
    + """
const volatile __u32 answer = 7;
__u32 runs;
struct { __uint(type, 2); __uint(max_entries, 4); __uint(map_flags, 1024);
     __type(key, __u32); __type(value, __u64); } config SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 2); __type(key, __u32);
    __type(value, __u32); } counts SEC(".maps");
struct { __uint(type, 1); __type(key, __u32); __type(value, __u32); } unsized SEC(".maps");
SEC("socket") int steer(void *ctx)
{
    __u32 key = 0;
    __u64 *value = bpf_map_lookup_elem(&config, &key);
    __u32 *count = bpf_map_lookup_elem(&counts, &key);
    __u32 *extra = bpf_map_lookup_elem(&unsized, &key);
    runs++;
    if (count)
        *count += 1;
    return answer + (value ? *value : 0) + (extra ? *extra : 0);
}
SEC("?socket") int asleep(void *ctx) { return 1; }
SEC("raw_tp/sys_enter") int watch(void *ctx) { return 0; }
"""
)

MIXED = (
    COMMON
    + """
struct { __uint(type, 2); __uint(max_entries, 1);
    __type(key, __u32); __type(value, __u64); } config SEC(".maps");
SEC("socket") int good(void *ctx) { __u32 key = 0; return !!bpf_map_lookup_elem(&config, &key); }
SEC("socket") int broken(void *ctx) { return *(volatile int *)(ctx + 4000); }
"""
)

PINNED = (
    COMMON
    + """
struct { __uint(type, 2); __uint(max_entries, 1); __uint(pinning, 1);
     __type(key, __u32); __type(value, __u64); } shared SEC(".maps");
SEC("socket") int good(void *ctx) { __u32 key = 0; return !!bpf_map_lookup_elem(&shared, &key); }
SEC("?socket") int broken(void *ctx) { return *(volatile int *)(ctx + 4000); }
"""
)

STRUCT_OPS = (
    COMMON
    + """
struct tcp_congestion_ops {
    __u32 (*ssthresh)(void *sk);
    void (*cong_avoid)(void *sk, __u32 ack, __u32 acked);
    __u32 (*undo_cwnd)(void *sk);
    char name[16];
};
SEC("struct_ops") __u32 ssthresh(__u64 *ctx) { return 2; }
SEC("struct_ops") void cong_avoid(__u64 *ctx) { }
SEC("struct_ops") __u32 undo_cwnd(__u64 *ctx) { return 2; }
SEC(".struct_ops.link") struct tcp_congestion_ops holdfast_cc = {
    .ssthresh = (void *)ssthresh, .cong_avoid = (void *)cong_avoid, .undo_cwnd = (void *)undo_cwnd,
    .name = "holdfast_cc",
};
"""
)


def compile_object(clang: str, source: str, folder: Path, name: str) -> Path:
    """Returns the path of the compiled object, ``name.bpf.o`` in ``folder``."""
    text, result = folder / f"{name}.bpf.c", folder / f"{name}.bpf.o"
    text.write_text(source)
    command = [clang, "--target=bpf", "-mcpu=v3", "-g", "-O2", "-Werror", "-c", text.name, "-o", result.name]
    subprocess.run(command, cwd=folder, check=True)
    return result


def gone(kind: kernel.Kind, number: int) -> bool:
    """Returns whether that id goes away: some links and programs go after an RCU grace period."""
    deadline = time.monotonic() + 10
    while number in set(kernel.ids(kind)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
