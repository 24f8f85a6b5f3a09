# SPDX-License-Identifier: Apache-2.0
"""The ELF container: what is refused, with which words and where."""

from __future__ import annotations

import struct

import pytest
from tests.elfwriter import NOBITS, RETURN_0, ElfWriter

from holdfast.elf import object_from_bytes
from holdfast.errors import ObjectFileError

ORDERS = pytest.mark.parametrize("byteorder", ["little", "big"])


def good(byteorder: str = "little") -> ElfWriter:
    elf = ElfWriter(byteorder)
    elf.program("prog", "socket")
    elf.license()
    return elf


def refusal(data: bytes) -> ObjectFileError:
    with pytest.raises(ObjectFileError) as caught:
        object_from_bytes(data, "x.o")
    assert str(caught.value).startswith("x.o: ")
    assert "\n" not in str(caught.value)
    return caught.value


@ORDERS
def test_the_least_object_opens(byteorder: str) -> None:
    spec = object_from_bytes(good(byteorder).bytes(), "x.o")
    assert spec.byteorder == byteorder
    assert spec.license == "GPL"
    assert [p.name for p in spec.programs] == ["prog"]
    assert spec.problems == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an ELF file (empty)"),
        (b"\x1f\x8b\x08\x00", "it begins with 1f 8b 08 00"),
        (b"\x7fELF\x02\x01", "cut off: 6 bytes"),
        (b"\x7fELF\x01\x01" + bytes(60), "not a 64-bit ELF file"),
        (b"\x7fELF\x02\x03" + bytes(60), "byte order 3"),
    ],
)
def test_no_bpf_elf(data: bytes, words: str) -> None:
    assert words in str(refusal(data))


@ORDERS
def test_another_machine(byteorder: str) -> None:
    elf = good(byteorder)
    elf.machine = 62
    error = refusal(elf.bytes())
    assert "machine 62, not for BPF (247)" in str(error)
    assert error.place == "offset 0x12"


def test_machine_none_is_of_old_compilers() -> None:
    elf = good()
    elf.machine = 0
    assert object_from_bytes(elf.bytes()).programs


@ORDERS
def test_linked_file_is_no_object(byteorder: str) -> None:
    """``bpf_object__elf_init()`` wants ET_REL."""
    elf = good(byteorder)
    elf.kind = 2
    assert "ELF of type 2" in str(refusal(elf.bytes()))


def test_stripped_object_says_what_to_do() -> None:
    error = refusal(good().bytes(symbol_table=False))
    assert "no symbol table" in str(error)
    assert error.hint is not None and "llvm-strip -g" in error.hint


def test_two_symbol_tables() -> None:
    elf = good()
    elf.section(".symtab2", bytes(24), kind=2)
    assert "second symbol table" in str(refusal(elf.bytes()))


def test_section_past_the_end_of_the_file() -> None:
    elf = good()
    elf.section(".data", b"1234", size=1 << 40)
    error = refusal(elf.bytes())
    assert ".data" in str(error.place)
    assert "past the end" in str(error)


def test_bss_of_a_terabyte_takes_no_memory() -> None:
    elf = good()
    elf.section(".bss", kind=NOBITS, size=1 << 40)
    (bss,) = object_from_bytes(elf.bytes(), "x.o").maps
    assert bss.value_size == 1 << 40
    assert bss.contents is None


def test_every_truncation_is_refused_or_read() -> None:
    data = good().bytes()
    for size in range(len(data)):
        refusal(data[:size])


def test_relocation_against_no_symbol() -> None:
    elf = good()
    elf.relocation(1, 0, 77)
    assert "symbol 77 of 2" in str(refusal(elf.bytes()))


def test_relocation_section_of_odd_entries() -> None:
    elf = good()
    elf.relocation(1, 0, 1)
    data = bytearray(elf.bytes())
    # the fifth header is .rel: sh_entsize is its last field
    (table,) = struct.unpack_from("<Q", data, 40)
    at = table + 64 * 5
    assert struct.unpack_from("<I", data, at + 4)[0] == 9
    struct.pack_into("<Q", data, at + 56, 24)
    assert "impossible entry size" in str(refusal(bytes(data)))


@pytest.mark.parametrize(
    ("size", "value"), [(0, 0), (12, 0), (16, 4), (16, 8), (1 << 63, 0), (16, (1 << 64) - 8)]
)
def test_function_that_does_not_fit(size: int, value: int) -> None:
    elf = ElfWriter()
    section = elf.section("socket", RETURN_0, flags=6)
    elf.symbol("prog", section, value, size, kind=2)
    assert "function 'prog'" in str(refusal(elf.bytes()))


def test_functions_that_overlap_without_end() -> None:
    """Each would be read whole: the cost must not be the square of the file's size."""
    elf = ElfWriter()
    section = elf.section("socket", RETURN_0 * 50, flags=6)
    for number in range(40):
        elf.symbol(f"alias{number}", section, 0, 800, kind=2)
    assert "overlap more than 16 times" in str(refusal(elf.bytes()))


def test_two_names_for_one_function() -> None:
    elf = ElfWriter()
    section = elf.section("socket", RETURN_0, flags=6)
    elf.symbol("one", section, 0, 16, kind=2)
    elf.symbol("two", section, 0, 16, kind=2)
    spec = object_from_bytes(elf.bytes())
    assert [p.name for p in spec.programs] == ["one", "two"]
    assert all(len(p.insns) == 2 for p in spec.programs)


def test_sections_over_each_other_are_not_copied_many_times() -> None:
    elf = good()
    for number in range(40):
        elf.section(f".fill{number}", bytes(64))
    data = bytearray(elf.bytes())
    table, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    for index in range(count):
        if data[table + 64 * index : table + 64 * index + 4] and index > count - 30:
            struct.pack_into("<QQ", data, table + 64 * index + 24, 0, len(data))
    assert "its sections lie over each other" in str(refusal(bytes(data)))


def test_names_over_each_other_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.elf.image._MOST_NAMES", 16)
    assert "its names have more than" in str(refusal(good().bytes()))


def test_a_name_of_several_lines_makes_no_error_of_several() -> None:
    elf = good()
    elf.section("we\n\x1bird", b"1234", size=1 << 40)
    assert r"section we\x0a\x1bird" in str(refusal(elf.bytes()))
