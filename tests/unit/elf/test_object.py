# SPDX-License-Identifier: Apache-2.0
"""Files, licenses, versions, and maps that an object implies."""

from __future__ import annotations

import os
import struct
from hashlib import sha256
from pathlib import Path

import pytest
from tests.btfwriter import BtfWriter
from tests.elfwriter import NOBITS, OBJECT, ElfWriter, insn

from holdfast.elf import object_from_bytes, open_object
from holdfast.elf.maps import internal_map_name
from holdfast.elf.spec import MapOrigin
from holdfast.errors import BtfError, ObjectFileError
from holdfast.terms import MapType

ORDERS = pytest.mark.parametrize("byteorder", ["little", "big"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ObjectFileError, match=r"nowhere\.o: cannot be read \(No such file") as caught:
        open_object(tmp_path / "nowhere.o")
    assert caught.value.hint


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ObjectFileError, match="Is a directory"):
        open_object(tmp_path)


def test_a_file_larger_than_any_object(tmp_path: Path) -> None:
    path = tmp_path / "large.o"
    with path.open("wb") as file:
        file.write(b"\x7fELF")
        file.truncate(300 << 20)
    with pytest.raises(ObjectFileError, match="larger than 256 MiB"):
        open_object(path)


def test_a_device_without_end_and_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(ObjectFileError, match="not an ELF file"):
        open_object("/dev/zero")
    elf = ElfWriter()
    elf.program("prog", "socket")
    elf.license()
    reader, writer = os.pipe()
    os.write(writer, elf.bytes())
    os.close(writer)
    try:
        assert [one.name for one in open_object(f"/dev/fd/{reader}").programs] == ["prog"]
    finally:
        os.close(reader)


def test_digest_and_path(tmp_path: Path) -> None:
    elf = ElfWriter()
    elf.program("prog", "socket")
    path = tmp_path / "a.bpf.o"
    path.write_bytes(elf.bytes())
    spec = open_object(path)
    assert spec.path == str(path)
    assert spec.sha256 == sha256(path.read_bytes()).hexdigest()
    assert spec.license == ""
    assert spec.version is None


@ORDERS
def test_version(byteorder: str) -> None:
    elf = ElfWriter(byteorder)
    elf.section("version", struct.pack(elf.order + "I", 0x50A00))
    assert object_from_bytes(elf.bytes()).version == 0x50A00


def test_version_of_another_size_is_refused() -> None:
    elf = ElfWriter()
    elf.section("version", bytes(8))
    spec = object_from_bytes(elf.bytes())
    assert [p.rule for p in spec.problems] == ["bpf_object__init_kversion"]
    assert spec.version is None


@pytest.mark.parametrize(
    ("object_name", "section", "name"),
    [
        ("short", ".bss", "short.bss"),
        ("a_long_object_name", ".bss", "a_long_o.bss"),
        ("a_long_object_name", ".rodata", "a_long_o.rodata"),
        ("a_long_object_name", ".kconfig", "a_long_.kconfig"),
        ("a-b", ".data", "a_b.data"),
        ("short", ".bss.mine", ".bss.mine"),
        ("short", ".bss.a_very_long_name", ".bss.a_very_lon"),
    ],
)
def test_internal_map_names(object_name: str, section: str, name: str) -> None:
    """``internal_map_name()`` of libbpf: 15 characters, 7 of them at least for the section."""
    assert internal_map_name(object_name[:15], section) == name


def test_custom_sections_keep_their_name() -> None:
    elf = ElfWriter()
    elf.section(".data.a_rather_long_name", bytes(4), flags=3)
    elf.section(".rodata.mine", b"abcd")
    elf.section(".data", b"1", flags=3)
    elf.section(".datax", b"1", flags=3)
    elf.section(".bss", kind=NOBITS, size=12)
    maps = object_from_bytes(elf.bytes(), "folder/obj.bpf.o").maps
    assert [(m.name, m.origin, m.value_size, m.flags) for m in maps] == [
        (".data.a_rather_long_name", MapOrigin.DATA, 4, 0),
        (".rodata.mine", MapOrigin.RODATA, 4, 1 << 7),
        ("obj.data", MapOrigin.DATA, 1, 0),
        ("obj.bss", MapOrigin.BSS, 12, 0),
    ]
    assert [m.contents for m in maps] == [bytes(4), b"abcd", b"1", None]
    assert [m.frozen for m in maps] == [False, True, False, False]


@pytest.mark.parametrize(("linkage", "mmapable"), [(0, False), (1, True)])
def test_data_is_mmapable_when_user_space_can_see_it(linkage: int, mmapable: bool) -> None:
    """``map_is_mmapable()``: a section of static variables alone is not."""
    btf = BtfWriter()
    var = btf.var("x", btf.integer(), linkage)
    datasec = btf.datasec(".data", 4, (var, 0, 4))
    elf = ElfWriter()
    elf.section(".data", bytes(4), flags=3)
    elf.section(".BTF", btf.raw(), flags=0)
    (data,) = object_from_bytes(elf.bytes()).maps
    assert bool(data.flags & 1 << 10) == mmapable
    assert data.value_type_id == datasec


@ORDERS
def test_legacy_maps_are_read_and_refused(byteorder: str) -> None:
    """The definition's size is what lies between two symbols: other loaders add fields."""
    elf = ElfWriter(byteorder)
    row = struct.pack(elf.order + "7I", 1, 4, 8, 16, 1, 99, 98)
    section = elf.section("maps", row + struct.pack(elf.order + "7I", 2, 4, 12, 3, 0, 0, 0), flags=3)
    first = elf.symbol("first", section, 0, 28, kind=OBJECT)
    elf.symbol("second", section, 28, 28, kind=OBJECT)
    number = elf.program(
        "prog", "socket", insn(0x18, byteorder=byteorder) + insn(0) + insn(0x95, byteorder=byteorder)
    )
    elf.relocation(number, 0, first)
    spec = object_from_bytes(elf.bytes())
    assert [(m.name, m.type, m.key_size, m.value_size, m.max_entries, m.flags) for m in spec.maps] == [
        ("first", MapType.HASH, 4, 8, 16, 1),
        ("second", MapType.ARRAY, 4, 12, 3, 0),
    ]
    assert [p.message for p in spec.problems] == [
        "legacy map definitions in 'maps' section are not supported by libbpf v1.0+"
    ]
    assert spec.programs[0].references[0].name == "first"


def test_legacy_map_that_is_cut_off() -> None:
    elf = ElfWriter()
    section = elf.section("maps", bytes(12), flags=3)
    elf.symbol("first", section, 0, 12, kind=OBJECT)
    spec = object_from_bytes(elf.bytes())
    assert "its definition is cut off" in spec.problems[1].message
    assert spec.maps == ()


def test_maps_without_btf() -> None:
    elf = ElfWriter()
    elf.section(".maps", bytes(32), flags=3)
    (problem,) = object_from_bytes(elf.bytes()).problems
    assert problem.hint == "compile with -g"


def test_extern_without_btf() -> None:
    elf = ElfWriter()
    elf.extern("bpf_something")
    (problem,) = object_from_bytes(elf.bytes()).problems
    assert problem.message == "failed to find BTF for extern 'bpf_something'"
    assert problem.hint and "-g" in problem.hint


def test_damaged_btf_names_file_and_section() -> None:
    elf = ElfWriter()
    elf.section(".BTF", b"\x9f\xeb\x01" + bytes(40), flags=0)
    with pytest.raises(BtfError, match=r"^folder/x\.o: section \.BTF"):
        object_from_bytes(elf.bytes(), "folder/x.o")


def btf_maps(elements: dict[int, str], *, outer: int = 12) -> ElfWriter:
    """A map of maps ``outer`` with elements at offsets in bytes of its ``values``, and a map ``one``."""
    btf = BtfWriter()
    integer = btf.integer()
    key = btf.ptr(integer)

    def number(value: int) -> int:
        return btf.ptr(btf.array(integer, value))

    inner = btf.struct("inner", 32, *[(n, number(v), 64 * i) for i, (n, v) in enumerate(
        [("type", 2), ("max_entries", 1), ("key_size", 4), ("value_size", 8)])])  # fmt: skip
    values = btf.array(btf.ptr(inner), 0)
    members = [("type", number(outer), 0), ("max_entries", number(4), 64), ("key", key, 128)]
    outer_id = btf.struct("", 24, *members, ("values", values, 192))
    one, two = btf.var("one", inner), btf.var("outer", outer_id)
    btf.datasec(".maps", 88, (one, 0, 32), (two, 0, 56))
    elf = ElfWriter()
    section = elf.section(".maps", bytes(88), flags=3)
    symbols = {"one": elf.symbol("one", section, 0, 32), "outer": elf.symbol("outer", section, 32, 56)}
    for offset, name in elements.items():
        target = symbols.get(name) or elf.symbol(name, 0xFFF1)
        elf.relocation(section, 32 + 24 + offset, target)
    elf.section(".BTF", btf.raw(), flags=0)
    return elf


def test_elements_keep_their_index() -> None:
    spec = object_from_bytes(btf_maps({8: "one", 24: "one"}).bytes())
    assert spec.problems == ()
    outer = spec.map("outer")
    assert outer is not None and outer.inner is not None
    assert [(slot.index, slot.target) for slot in outer.slots] == [(1, "one"), (3, "one")]
    assert (outer.inner.name, outer.inner.key_size, outer.inner.value_size) == ("outer.inner", 4, 8)


@pytest.mark.parametrize(
    ("elements", "kind", "words"),
    [
        ({4: "one"}, 12, "is no element of map 'outer'"),
        ({-24: "one"}, 12, "is no element of map 'outer'"),
        ({0: "elsewhere"}, 12, "'elsewhere' isn't a BTF-defined map"),
    ],
)
def test_elements_that_are_none(elements: dict[int, str], kind: int, words: str) -> None:
    (problem,) = object_from_bytes(btf_maps(elements, outer=kind).bytes()).problems
    assert words in problem.message
