# SPDX-License-Identifier: Apache-2.0
"""BPF objects: whatever the file holds it is read, or refused in one line that names it, in bounded time; and
what was read can be asked for its needs and judged.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import corpus
from tests.btfwriter import BtfWriter, core_ext
from tests.clang import compile_c
from tests.elfwriter import LOCAL, NOBITS, SECTION, ElfWriter, insn
from tests.fuzz.inputs import BOUNDED, EXTREMES, bounds, damaged
from tests.oracle.elf import zoo

from holdfast.elf import object_from_bytes
from holdfast.errors import BtfError, ObjectFileError
from holdfast.kernels import KernelFacts
from holdfast.needs import needs_of_object
from holdfast.predict import check_object
from holdfast.report.rows import object_needs_row, verdict_row
from holdfast.report.text import needs_lines, verdict_lines

NAME = "fuzz.bpf.o"


def kernel() -> KernelFacts:
    btf = BtfWriter()
    number = btf.integer()
    btf.struct("s", 16, ("a", number, 0), ("b", number, 64))
    btf.func("bpf_kfunc", btf.proto(number, ("x", number)))
    btf.struct("ops", 8, ("f", btf.ptr(btf.proto(number)), 0))
    btf.struct("bpf_struct_ops_ops", 8, ("data", 4, 0))
    btf.enum("bpf_prog_type", ("BPF_PROG_TYPE_SOCKET_FILTER", 1))
    btf.enum("bpf_map_type", ("BPF_MAP_TYPE_ARRAY", 2), ("BPF_MAP_TYPE_ARRAY_OF_MAPS", 12))
    return KernelFacts("file/6.1", "6.1.0", "x86_64", "file", btf.btf("vmlinux"), config={"CONFIG_A": "y"})


KERNEL = kernel()


def whole(data: bytes) -> bool:
    """Everything that is done with an object; whether it was read.

    Types are decoded when they are asked for, so damaged BTF may show as late as in a verdict.
    """
    try:
        spec = object_from_bytes(data, NAME)
        needs = needs_of_object(spec)
        verdicts = check_object(spec, KERNEL)
    except (ObjectFileError, BtfError) as error:
        text = str(error)
        assert text.startswith(f"{NAME}: "), text
        assert "\n" not in text and len(text) < 2000, text
        return False
    object_needs_row(needs)
    list(needs_lines(needs, verbose=True))
    for verdict in verdicts:
        verdict_row(verdict)
        list(verdict_lines(verdict, verbose=True))
    for program in spec.programs:
        for slot in (0, len(program.insns) - 1, len(program.insns)):
            program.source_at(slot)
    return True


def seed(order: str) -> bytes:
    """An object with a bit of everything."""
    btf = BtfWriter(order)
    number = btf.integer()
    proto = btf.proto(number, ("ctx", number))

    def size(value: int) -> int:
        return btf.ptr(btf.array(number, value))

    inner = btf.struct("inner", 16, ("type", size(2), 0), ("max_entries", size(1), 64))
    rows = [("type", size(12), 0), ("key", btf.ptr(number), 64), ("max_entries", size(2), 128)]
    outer = btf.struct("", 24, *rows, ("values", btf.array(btf.ptr(inner), 0), 192))
    btf.datasec(".maps", 56, (btf.var("in", inner), 0, 16), (btf.var("out", outer), 16, 40))
    local = btf.struct("s", 8, ("a", number, 0), ("b", number, 32))
    ops = btf.struct("ops", 8, ("f", btf.ptr(proto), 0))
    btf.datasec(".struct_ops", 8, (btf.var("my_ops", ops), 0, 8))
    weak, value = btf.func("bpf_kfunc", proto, 2), btf.var("CONFIG_A", number, 2)
    btf.datasec(".ksyms", 8, (weak, 0, 0))
    btf.datasec(".kconfig", 4, (value, 0, 4))
    btf.decl_tag("exception_callback:sub", btf.func("prog", proto))
    ext = core_ext(
        btf, {"socket": [(8, local, "0:1", 0), (0, local, "0:1", 2)], ".text": [(0, local, "0", 8)]}
    )

    def slot(*fields: int) -> bytes:
        return insn(*fields, byteorder=order)

    lddw = slot(0x18, 1) + slot(0)
    elf = ElfWriter(order)
    elf.license()
    elf.program("sub", ".text", slot(0xB7, 0, 0, 0, 1) + slot(0x95))
    elf.program("local", ".text", slot(0x85, 0, 1, 0, -3) + slot(0x95), bind=LOCAL)
    text = elf.symbol("", 2, bind=LOCAL, kind=SECTION)
    code = (
        slot(0xB7, 1, 0, 0, 1)
        + slot(0x79, 2, 1, 4)
        + lddw * 4
        + slot(0x15, 1, 0, 1)
        + slot(0x85, 0, 1, 0, -1)
    )
    code += slot(0x85, 0, 1, 0, 1) + slot(0x85, 0, 0, 0, 1) + slot(0x95)
    program = elf.program("prog", "socket", code)
    elf.program("callback", "struct_ops/f", slot(0xB7) + slot(0x95))
    maps = elf.section(".maps", bytes(56), flags=3)
    data = elf.section(".rodata", bytes(8))
    elf.section(".bss", kind=NOBITS, size=12)
    struct_ops = elf.section(".struct_ops", bytes(8), flags=3)
    in_map, out = elf.symbol("in", maps, 0, 16), elf.symbol("out", maps, 16, 40)
    kfunc, config = elf.extern("bpf_kfunc", weak=True), elf.extern("CONFIG_A", weak=True)
    for at, symbol in enumerate((in_map, config, kfunc, elf.symbol("", data, bind=LOCAL, kind=SECTION))):
        elf.relocation(program, 16 + 16 * at, symbol)
    elf.relocation(program, 88, kfunc)
    elf.relocation(program, 96, text)
    elf.relocation(maps, 16 + 32, in_map)
    elf.relocation(struct_ops, 0, 5)
    elf.section(".BTF", btf.raw(), flags=0)
    elf.section(".BTF.ext", ext, flags=0)
    assert out
    return elf.bytes()


LITTLE, BIG = seed("little"), seed("big")


def test_the_seeds_are_right() -> None:
    for data in (LITTLE, BIG):
        spec = object_from_bytes(data, NAME)
        assert spec.problems == ()
        assert [p.link_problem for p in spec.programs] == [None, None]
        assert {m.name for m in spec.maps} >= {"in", "out", "my_ops", "fuzz.rodata", "fuzz.bss"}
        assert len(spec.externs) == 2 and len(spec.core_relos) == 3


@BOUNDED
@given(damaged(LITTLE, BIG))
def test_damaged(data: bytes) -> None:
    with bounds():
        whole(data)


@BOUNDED
@given(st.binary(max_size=600))
def test_anything_behind_an_elf_header(tail: bytes) -> None:
    with bounds():
        whole(LITTLE[:64] + tail)


def spoil(data: bytes, dice: random.Random) -> bytes:
    """Change a few places of a large object: one is likely to be among its tables."""
    spoiled = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(spoiled)) & ~3
        match dice.randrange(3):
            case 0:
                spoiled[at] ^= 1 << dice.randrange(8)
            case 1:
                spoiled[at : at + 4] = dice.choice(EXTREMES).to_bytes(4, "little")[: len(spoiled) - at]
            case _:
                other = dice.randrange(len(spoiled)) & ~3
                spoiled[at : at + 16] = spoiled[other : other + 16]
    return bytes(spoiled[: dice.randrange(len(spoiled))] if dice.random() < 0.1 else spoiled)


def test_damaged_objects_of_clang(need_tool: Callable[[str], str], tmp_path: Path) -> None:
    clang = need_tool("clang")
    dice = random.Random(1)
    read = 0
    for name, text in zoo.OPENED.items():
        data = compile_c(clang, text, tmp_path, name).read_bytes()
        for _ in range(25):
            with bounds():
                read += whole(spoil(data, dice))
    assert 0 < read < 25 * len(zoo.OPENED)


@pytest.mark.corpus
def test_damaged_real_objects() -> None:
    dice = random.Random(2)
    small = [path for path in corpus.objects() if path.stat().st_size < 60_000][::8]
    read = 0
    for path in small:
        data = path.read_bytes()
        for _ in range(5):
            with bounds():
                read += whole(spoil(data, dice))
    assert read


@pytest.mark.parametrize("many", ["symbols", "relocations", "functions", "programs", "sections"])
def test_cost_grows_with_the_file_only(many: str) -> None:
    """Tables of tens of thousands, each of which names the others."""
    elf = ElfWriter()
    count = 20_000
    elf.program("sub", ".text", (insn(0xB7) + insn(0x95)) * (count // 2))
    match many:
        case "symbols":
            for number in range(count):
                elf.symbol(f"s{number}", 1, 8 * number)
        case "relocations":
            program = elf.program("prog", "socket", insn(0x85, 0, 1, 0, -1) * count + insn(0x95))
            for number in range(count):
                elf.relocation(program, 8 * number, 1)
        case "functions":
            for number in range(count):
                elf.symbol(f"f{number}", 1, 8 * number, 8, kind=2)
            program = elf.program("prog", "socket", insn(0x85, 0, 1, 0, -1) * count + insn(0x95))
            for number in range(count):
                elf.relocation(program, 8 * number, number + 2)
        case "programs":
            for number in range(count):
                elf.program(f"p{number}", "socket")
        case "sections":
            for number in range(2000):
                elf.section(f".data.{number}", bytes(8), flags=3)
    with bounds():
        try:
            object_from_bytes(elf.bytes(), NAME)
        except ObjectFileError as error:
            assert "\n" not in str(error)
