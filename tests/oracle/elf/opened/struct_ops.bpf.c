// SPDX-License-Identifier: Apache-2.0
struct tcp_congestion_ops { __u32 (*ssthresh)(void *sk); void (*cong_avoid)(void *sk, __u32 a, __u32
    b);
    __u32 (*undo_cwnd)(void *sk); char name[16]; };
struct tcp_congestion_ops___other { __u32 (*undo_cwnd)(void *sk); int extra; };
SEC("struct_ops") __u32 ssthresh(__u64 *ctx) { return 2; }
SEC("struct_ops/cong_avoid") void cong_avoid(__u64 *ctx) { }
SEC("struct_ops.s/undo_cwnd") __u32 undo_cwnd(__u64 *ctx) { return 2; }
SEC("?struct_ops") __u32 spare(__u64 *ctx) { return 2; }
SEC(".struct_ops.link") struct tcp_congestion_ops linked = { .ssthresh = (void *)ssthresh,
    .cong_avoid = (void *)cong_avoid, .undo_cwnd = (void *)undo_cwnd, .name = "linked" };
SEC(".struct_ops") struct tcp_congestion_ops plain = { .undo_cwnd = (void *)undo_cwnd, .name =
    "plain" };
SEC("?.struct_ops.link") struct tcp_congestion_ops asleep = { .undo_cwnd = (void *)spare, .name =
    "asleep" };
SEC("?.struct_ops.link") struct tcp_congestion_ops___other second = { .undo_cwnd = (void
    *)undo_cwnd, .extra = 4 };
SEC("?.struct_ops") struct tcp_congestion_ops third = { .name = "third" };
