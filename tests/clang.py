# SPDX-License-Identifier: Apache-2.0
"""Compile small C texts to BPF objects at test time."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["HEADER", "compile_c"]

HEADER = """
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
#define __ulong(name, val) enum { name##__value = val } name
#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))
#define __noinline __attribute__((noinline))
#define __inline inline __attribute__((always_inline))
#define __core __attribute__((preserve_access_index))
#define bpf_ksym_exists(sym) (!!sym)
#define bpf_core_field_exists(f) __builtin_preserve_field_info(f, 2)
#define bpf_core_type_exists(t) __builtin_preserve_type_info(*(typeof(t) *)0, 0)
#define bpf_core_type_size(t) __builtin_preserve_type_info(*(typeof(t) *)0, 1)
#define bpf_core_type_id_kernel(t) __builtin_btf_type_id(*(typeof(t) *)0, 1)
#define bpf_core_enum_value_exists(e, v) __builtin_preserve_enum_value(*(typeof(e) *)v, 0)
#define bpf_core_enum_value(e, v) __builtin_preserve_enum_value(*(typeof(e) *)v, 1)
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef _Bool bool;
enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_probe_read_kernel)(void *dst, __u32 size, const void *from) = (void *)113;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static long (*bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static long (*bpf_for_each_map_elem)(void *map, void *fn, void *ctx, __u64 flags) = (void *)164;
static long (*bpf_loop)(__u32 nr, void *fn, void *ctx, __u64 flags) = (void *)181;
"""


def compile_c(
    clang: str,
    source: str,
    folder: Path,
    name: str = "object",
    *,
    big: bool = False,
    flags: tuple[str, ...] = ("-g",),
    license_: str | None = "GPL",
    cpu: str = "v3",
) -> Path:
    """Returns the object's path; ``license_`` None leaves the license section out.

    The text is compiled after :data:`HEADER`; line 1 of ``name.bpf.c`` is the first line of ``source``.
    """
    text = folder / f"{name}.bpf.c"
    end = f'\nchar LICENSE[] SEC("license") = "{license_}";\n' if license_ is not None else ""
    (folder / "header.h").write_text(HEADER)
    text.write_text(source + end)
    result = folder / f"{name}.bpf.o"
    target = "--target=bpfeb" if big else "--target=bpfel"
    command = [clang, target, f"-mcpu={cpu}", "-O2", "-Wno-everything", *flags, "-include", "header.h"]
    subprocess.run([*command, "-c", text.name, "-o", result.name], cwd=folder, check=True)
    return result
