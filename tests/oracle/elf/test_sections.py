# SPDX-License-Identifier: Apache-2.0
"""SEC() names against libbpf's own parsing, and against what it hands to BPF_PROG_LOAD."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.elfwriter import ElfWriter
from tests.oracle.elf.libbpfview import section_type
from tests.oracle.relo.libbpflog import libbpf_or_skip

from holdfast.elf.sections import SECTION_DEFS, SectionDef, SectionFlag, find_section
from holdfast.libbpf import Level, Library, Messages
from holdfast.terms import ProgramType

pytestmark = pytest.mark.oracle

BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS = 1 << 4, 1 << 5

STEMS = [row.name.removesuffix("+") for row in SECTION_DEFS]
SUFFIXES = ["", "/", "/x", "/mod:func", "/a/b", "x", ".x", ".s", ".s/x", "+", "/nmi_handle", " "]


def ours(section: str, lib: Library) -> tuple[int, int] | None:
    row = find_section(section, lib.version)
    return None if row is None else (int(row.type), int(row.attach_type or 0))


def test_every_row_and_its_neighbours() -> None:
    lib = libbpf_or_skip()
    known = 0
    for stem in STEMS:
        for suffix in SUFFIXES:
            theirs = section_type(lib, stem + suffix)
            assert ours(stem + suffix, lib) == theirs, stem + suffix
            known += theirs is not None
    print(f"{len(STEMS) * len(SUFFIXES)} names asked, {known} of them known to libbpf {lib.version_text}")
    assert known > len(STEMS)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["", *STEMS]), st.text("abcdefz/.+?:_", max_size=8))
def test_random_suffixes(stem: str, suffix: str) -> None:
    lib = libbpf_or_skip()
    assert ours(stem + suffix, lib) == section_type(lib, stem + suffix)


def test_no_row_is_missing() -> None:
    """libbpf lists all its names when it is asked for one that it does not know."""
    lib = libbpf_or_skip()
    messages = Messages(most=Level.DEBUG)
    assert section_type(lib, "no such section", messages) is None
    text = "\n".join(message.text for message in messages.kept)
    found = re.search(r"supported section\(type\) names are:(.*)", text)
    assert found, text
    theirs = {name.rstrip("+") for name in found[1].split()}
    assert theirs == {row.name.rstrip("+") for row in SECTION_DEFS if row.since <= lib.version}


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    unsigned char *attr = (unsigned char *)a[1];
    /* BPF_PROG_LOAD of a program of ours: write it down, and refuse it */
    if (number == SYS_bpf && a[0] == 5 && !strncmp((char *)attr + 48, "p_", 2)) {
        unsigned type, flags, attach, id;
        memcpy(&type, attr, 4);
        memcpy(&flags, attr + 44, 4);
        memcpy(&attach, attr + 68, 4);
        memcpy(&id, attr + 108, 4);
        FILE *out = fopen(getenv("SHIM_OUT"), "a");
        fprintf(out, "[\"%s\", %u, %u, %u, %u]\n", (char *)attr + 48, type, flags, attach, id);
        fclose(out);
        errno = EACCES;
        return -1;
    }
    long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
"""

LOAD_EACH = """
import sys
from holdfast import load
from holdfast.errors import HoldfastError
for name in sys.argv[2:]:
    try:
        with load.open_object(sys.argv[1], programs=[name]):
            pass
    except HoldfastError as error:
        print(name, error, file=sys.stderr)
"""

TARGETS = {
    "tp_btf": "sched_switch",
    "fentry": "bpf_fentry_test1",
    "fexit": "bpf_fentry_test1",
    "fmod_ret": "bpf_modify_return_test",
    "fsession": "bpf_fentry_test1",
    "lsm": "file_open",
    "lsm_cgroup": "socket_bind",
    "iter": "task",
}


def section_of(row: SectionDef) -> str:
    stem = row.name.removesuffix("+")
    target = TARGETS.get(stem.removesuffix(".s")) if row.attaches_by_btf else None
    return f"{stem}/{target}" if target else stem


@pytest.mark.live
def test_flags_that_libbpf_hands_over(need_tool: Callable[[str], str], tmp_path: Path) -> None:
    """Type, attach type, BPF_F_SLEEPABLE and BPF_F_XDP_HAS_FRAGS as libbpf passes them to the kernel."""
    lib = libbpf_or_skip()
    rows = [
        row
        for row in SECTION_DEFS
        # freplace asks for its target first, struct_ops for a map
        if row.since <= lib.version and row.type not in (ProgramType.EXT, ProgramType.STRUCT_OPS)
    ]
    shim = tmp_path / "shim.so"
    source = tmp_path / "shim.c"
    source.write_text(SHIM)
    subprocess.run([need_tool("clang"), "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    elf = ElfWriter()
    elf.license()
    for number, row in enumerate(rows):
        elf.program(f"p_{number}", section_of(row))
    path = tmp_path / "sections.bpf.o"
    path.write_bytes(elf.bytes())
    out = tmp_path / "out"
    out.touch()
    environment = {**os.environ, "LD_PRELOAD": str(shim), "SHIM_OUT": str(out)}
    names = [f"p_{number}" for number in range(len(rows))]
    done = subprocess.run(
        [sys.executable, "-c", LOAD_EACH, path, *names], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    handed = {name: tuple(rest) for name, *rest in map(json.loads, out.read_text().splitlines())}
    for number, row in enumerate(rows):
        got = handed.get(f"p_{number}")
        assert got is not None, f"{row.name}: {done.stderr}"
        kind, flags, attach, btf_id = got
        assert kind == row.type, row.name
        assert bool(flags & BPF_F_SLEEPABLE) == row.sleepable, row.name
        assert bool(flags & BPF_F_XDP_HAS_FRAGS) == (SectionFlag.XDP_FRAGS in row.flags), row.name
        assert bool(btf_id) == row.attaches_by_btf, row.name
        if SectionFlag.USDT not in row.flags:
            assert attach == int(row.attach_type or 0), row.name
    print(f"{len(rows)} sections as libbpf {lib.version_text} hands them over")
