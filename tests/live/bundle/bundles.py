# SPDX-License-Identifier: Apache-2.0
"""Real small bundles: C sources, compiled, with a manifest around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.live.load.objects import COMMON, compile_object

from holdfast.elf import ObjectSpec
from holdfast.kernels import KernelFacts
from holdfast.terms import Verdict

__all__ = ["FALLBACK", "INTERFACE", "SOURCES", "Predicted", "allow_all", "build_bundle"]

CONFIG = """
struct settings { __u32 answer; __u32 rest; };
struct { __uint(type, 2); __uint(max_entries, 1);
    __type(key, __u32); __type(value, struct settings); } config SEC(".maps");
static int work(void)
{
    __u32 key = 0;
    struct settings *now = bpf_map_lookup_elem(&config, &key);
    return now ? now->answer : -1;
}
"""
SOURCES = {
    "good": CONFIG + 'SEC("socket") int steer(void *ctx) { return work(); }',
    # Loads by every prediction that does not run the verifier, and is refused by it.
    "refused": CONFIG + 'SEC("socket") int steer(void *ctx) { return *(volatile int *)(long)(work() + 1); }',
    "newer": CONFIG
    + """
extern int holdfast_no_such_kfunc(int number) __attribute__((section(".ksyms")));
SEC("socket") int steer(void *ctx) { return work() + holdfast_no_such_kfunc(1); }
""",
    "moved": CONFIG.replace("__u32 answer; __u32 rest;", "__u32 rest; __u32 answer;")
    + 'SEC("socket") int steer(void *ctx) { return work(); }',
    "watching": CONFIG + 'SEC("raw_tp/sys_enter") int steer(void *ctx) { return !work(); }',
    # Loads, and then there is nothing to attach to: the name is looked up when it is attached.
    "nowhere": CONFIG + 'SEC("raw_tp/holdfast_no_such_tracepoint") int steer(void *ctx) { return !work(); }',
}
INTERFACE = """
[interface.programs.steer]
type = "{type}"
attach = "{attach}"

[interface.maps.config]
type = "ARRAY"
key_size = 4
value_size = 8
max_entries = 1
value = "struct settings"
"""
FALLBACK = """
[fallback]
name = "user-space"
summary = "the application does it"
python = "tests.live.bundle.bundles:SOURCES"
"""


class Predicted:
    """A verdict of a prediction that knows nothing."""

    verdict = Verdict.UNKNOWN
    reasons: Sequence[object] = ()
    hazards: Sequence[object] = ()

    def __init__(self, program: str) -> None:
        self.program = program


def allow_all(spec: ObjectSpec, facts: KernelFacts) -> list[Predicted]:
    """A check that lets every variant be tried."""
    return [Predicted(one.name) for one in spec.programs]


def build_bundle(
    clang: str,
    folder: Path,
    *variants: str,
    kind: str = "SOCKET_FILTER",
    attach: str = "none",
    fallback: bool = True,
) -> Path:
    """Compiles the named sources into ``folder``, best first, and writes a manifest; returns the folder."""
    text = '[bundle]\nname = "test/small"\nversion = "1"\n'
    text += INTERFACE.format(type=kind, attach=attach)
    for name in variants:
        compile_object(clang, COMMON + SOURCES[name], folder, name)
        text += f'[[variant]]\nname = "{name}"\nobject = "{name}.bpf.o"\nsource = "{name}.bpf.c"\n'
    (folder / "holdfast.toml").write_text(text + (FALLBACK if fallback else ""))
    return folder
