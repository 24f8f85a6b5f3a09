# SPDX-License-Identifier: Apache-2.0
"""The command line in this process, objects compiled once, and a kernel that is a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.clang import compile_c
from tests.unit.predict.fake import types_of

from holdfast.cli.group import run

SOURCES = {
    "loads": 'SEC("tc") int prog(void *ctx) { return 0; }',
    "fails": """
SEC("tc") int good(void *ctx) { return 0; }
SEC("tc") int bad(void *ctx) { return ((long (*)(void))5000)(); }
""",
    "unknown": 'SEC("fentry.s/vfs_read") int prog(void *ctx) { return 0; }',
    "both": """
SEC("fentry.s/vfs_read") int maybe(void *ctx) { return 0; }
SEC("tc") int bad(void *ctx) { return ((long (*)(void))5000)(); }
""",
    "rich": """
struct task_struct { int pid; int a_field_with_quite_a_long_name_that_no_kernel_has; } __core;
extern int CONFIG_A __kconfig;
extern void bpf_strong_kfunc_with_a_long_name(int a, __u64 b, struct task_struct *c) __ksym;
extern void bpf_weak(void) __ksym __weak;
struct { __uint(type, 27); } ring SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, int); } m SEC(".maps");
SEC("fentry/vfs_read") int prog(__u64 *ctx) {
    struct task_struct *t = (void *)ctx[0];
    int key = 0;
    if (bpf_ksym_exists(bpf_weak))
        bpf_weak();
    bpf_strong_kfunc_with_a_long_name(1, 2, t);
    if (bpf_core_field_exists(t->pid))
        key += bpf_ktime_get_ns();
    return t->a_field_with_quite_a_long_name_that_no_kernel_has + CONFIG_A
        + !!bpf_map_lookup_elem(&m, &key) + !!bpf_map_lookup_elem(&ring, &key);
}
SEC("?iter.s/task") int second(__u64 *ctx) { return 0; }
""",
}


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def holdfast(capsys: pytest.CaptureFixture[str]) -> Command:
    """A function that runs one command line."""

    def call(*arguments: object) -> Done:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def objects(need_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("objects")
    return {name: compile_c(need_tool("clang"), text, folder, name) for name, text in SOURCES.items()}


@pytest.fixture(scope="session")
def kernel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw BTF."""
    path = tmp_path_factory.mktemp("kernel") / "vmlinux.btf"
    path.write_bytes(types_of(lambda w: w.function("vfs_read", w.int, w.task_ptr)).raw())
    return path
