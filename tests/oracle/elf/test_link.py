# SPDX-License-Identifier: Apache-2.0
"""Linked instruction streams against what libbpf relocates (``bpf_object__prepare()``, 1.6)."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import corpus
from tests.clang import compile_c
from tests.oracle.elf import compare, libbpfview, zoo
from tests.oracle.relo.libbpflog import libbpf_or_skip, weaken_externs

from holdfast.elf import object_from_bytes
from holdfast.insn import Instruction
from holdfast.libbpf import Library
from holdfast.terms import ProgramType

pytestmark = [pytest.mark.oracle, pytest.mark.live]


@pytest.fixture(scope="module")
def lib() -> Library:
    return libbpf_or_skip()


def relocated(lib: Library, data: bytes, name: str) -> libbpfview.View:
    """All programs relocated, with the maps of data sections alone."""

    def adjust(handle: int) -> None:
        set_type = ctypes.CDLL(lib.path).bpf_program__set_type
        set_type.argtypes = (ctypes.c_void_p, ctypes.c_int)
        for program in libbpfview.each(lib, "bpf_object__next_program", handle):
            if lib.call("bpf_program__type", program) == ProgramType.STRUCT_OPS:
                # libbpf leaves these out when no map that uses them is made; to link, any type will do
                set_type(program, ProgramType.SOCKET_FILTER)
            lib.call("bpf_program__set_autoload", program, True)
        for one in libbpfview.each(lib, "bpf_object__next_map", handle):
            # an instruction that names a map which is not made is overwritten; of data sections we compare it
            lib.call("bpf_map__set_autocreate", one, lib.call("bpf_map__is_internal", one))

    return libbpfview.prepared(lib, data, name, adjust)


def compared(lib: Library, data: bytes, name: str) -> tuple[int, int]:
    """(programs, slots) that are equal."""
    spec = object_from_bytes(data, name)
    view = relocated(lib, data, name)
    assert view.refusal is None, view.refusal
    theirs: dict[str, tuple[Instruction, ...]] = {p.name: p.insns for p in view.programs}
    programs = slots = 0
    for program in spec.programs:
        found, count = compare.differences(program, theirs[program.name])
        assert not found, (name, found[:5])
        programs += 1
        slots += count
    return programs, slots


@pytest.mark.corpus
def test_real_objects(lib: Library) -> None:
    programs = slots = objects = 0
    for path in corpus.objects():
        data = weaken_externs(path.read_bytes())
        counts = compared(lib, data, path.name)
        objects += 1
        programs += counts[0]
        slots += counts[1]
    print(f"{programs} programs of {objects} objects, {slots} slots as libbpf links them")
    assert programs > 100


@pytest.mark.parametrize("name", ["calls", "data", "exception", "externs"])
def test_all_that_c_can_say(lib: Library, need_tool: Callable[[str], str], tmp_path: Path, name: str) -> None:
    path = compile_c(need_tool("clang"), zoo.OPENED[name], tmp_path, name)
    programs, slots = compared(lib, weaken_externs(path.read_bytes()), path.name)
    assert programs and slots


def test_static_functions_of_one_name(lib: Library, need_tool: Callable[[str], str], tmp_path: Path) -> None:
    """A linked object may hold several; each caller gets its own."""
    text = """
static __noinline int same(int x) { return x * %d + bpf_get_prandom_u32(); }
SEC("socket") int prog%d(void *ctx) { return same(1); }
__noinline int global%d(int x) { return same(x) + same(x + 1); }
"""
    clang, bpftool = need_tool("clang"), need_tool("bpftool")
    parts = [compile_c(clang, text % (n, n, n), tmp_path, f"part{n}") for n in (3, 7)]
    caller = """int global3(int); int global7(int);
SEC("socket") int both(void *ctx) { return global3(1) + global7(2); }"""
    parts.append(compile_c(clang, caller, tmp_path, "caller"))
    linked = tmp_path / "linked.bpf.o"
    subprocess.run([bpftool, "gen", "object", linked, *parts], check=True)
    data = linked.read_bytes()
    assert compared(lib, data, linked.name)[0] == 3
    both = object_from_bytes(data).program("both")
    assert both is not None
    assert sorted(part.name for part in both.parts) == ["both", "global3", "global7", "same", "same"]
