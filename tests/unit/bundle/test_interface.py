# SPDX-License-Identifier: Apache-2.0
"""Variants that do not export the same: told by variant, map and member."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.bundle.manifests import MINIMAL, minimal_object

from holdfast.btf import Btf
from holdfast.bundle import read_manifest
from holdfast.bundle.interface import check_interface, exported_map, mismatches
from holdfast.elf.object import object_from_bytes
from holdfast.elf.spec import MapOrigin, MapSpec, ObjectSpec, StructOpsSpec
from holdfast.errors import InterfaceMismatchError
from holdfast.terms import MapType, ProgramType

MAP = """
[interface.maps.config]
type = "ARRAY"
key_size = 4
value_size = 8
flags = ["MMAPABLE"]
value = "struct config"
"""
COUNTS = MapSpec("config", MapType.ARRAY, 4, 8, 2, 1 << 10, MapOrigin.BTF, 1, 2)


def types(offset: int = 0, name: str = "config") -> Btf:
    """Type 1 is the key, type 2 the value."""
    w = BtfWriter()
    u32 = w.integer("unsigned int", 4, 0)
    w.struct(name, 8, ("types", u32, offset), ("other", u32, 32 - offset))
    return w.btf()


def spec(*maps: MapSpec, btf: Btf | None = None) -> ObjectSpec:
    opened = object_from_bytes(minimal_object(), "test.bpf.o")
    return replace(opened, maps=maps, btf=types() if btf is None else btf)


def found(folder: Path, first: ObjectSpec, second: ObjectSpec, extra: str = MAP) -> list[str]:
    (folder / "holdfast.toml").write_text(MINIMAL + extra)
    return list(mismatches(read_manifest(folder), {"first": first, "second": second}))


def test_variants_that_agree(tmp_path: Path) -> None:
    assert found(tmp_path, spec(COUNTS), spec(COUNTS)) == []


def test_layouts_are_compared_with_the_first_variant(tmp_path: Path) -> None:
    assert found(tmp_path, spec(COUNTS), spec(COUNTS, btf=types(32))) == [
        "variant 'second': map 'config': member 'types' at bit 32, in variant 'first' at bit 0"
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"type": MapType.HASH}, "is HASH, the manifest says ARRAY"),
        ({"type": 99}, "is map type 99, the manifest says ARRAY"),
        ({"key_size": 8}, "key_size is 8, the manifest says 4"),
        ({"value_size": 12}, "value_size is 12, the manifest says 8"),
        ({"max_entries": 3}, "max_entries is 3, in variant 'first' it is 2"),
        ({"flags": 0}, "flags are none, the manifest says MMAPABLE"),
        (
            {"flags": 1 << 10 | 1 | 1 << 30},
            "flags are NO_PREALLOC MMAPABLE 0x40000000, the manifest says MMAPABLE",
        ),
        ({"value_type_id": 1}, "its value is unsigned int, the manifest says struct config"),
        ({"value_type_id": 0}, "its declaration gives no value type, the manifest says struct config"),
        ({"key_type_id": 2}, "its key is a struct, in variant 'first' it is an integer"),
        ({"inner": COUNTS}, "has an inner map, unlike variant 'first'"),
    ],
)
def test_every_difference_of_a_map(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    said = found(tmp_path, spec(COUNTS), spec(replace(COUNTS, **change)))  # type: ignore[arg-type]
    assert said[0].startswith(f"variant 'second': map 'config': {problem}")


def test_max_entries_of_the_manifest_hold_for_all(tmp_path: Path) -> None:
    said = found(tmp_path, spec(COUNTS), spec(COUNTS), MAP + "max_entries = 4\n")
    assert [line.partition(": max")[0] for line in said] == [
        "variant 'first': map 'config'",
        "variant 'second': map 'config'",
    ]


def test_missing_maps_and_programs(tmp_path: Path) -> None:
    other = replace(spec(COUNTS), programs=())
    assert found(tmp_path, spec(), other) == [
        "variant 'second': no program 'prog' (there are: none)",
        "variant 'first': no map 'config' (there are: none)",
    ]


def test_program_types(tmp_path: Path) -> None:
    good = spec(COUNTS)
    xdp = replace(good, programs=(replace(good.programs[0], type=ProgramType.XDP),))
    unknown = replace(good, programs=(replace(good.programs[0], type=ProgramType.UNSPEC, section="mine"),))
    assert found(tmp_path, xdp, unknown) == [
        "variant 'first': program 'prog' is XDP, the manifest says SOCKET_FILTER",
        "variant 'second': program 'prog': section 'mine' says no type, the manifest says SOCKET_FILTER",
    ]


def test_programs_that_a_variant_loads_besides(tmp_path: Path) -> None:
    (tmp_path / "holdfast.toml").write_text(
        MINIMAL.replace('object = "first.bpf.o"', 'object = "first.bpf.o"\nprograms = ["prog", "tail"]')
    )
    said = list(mismatches(read_manifest(tmp_path), {"first": spec(), "second": spec()}))
    assert said == ["variant 'first': no program 'tail', which its 'programs' name (there are: prog)"]


def test_byte_orders(tmp_path: Path) -> None:
    said = found(tmp_path, spec(COUNTS), replace(spec(COUNTS), byteorder="big"))
    assert said == ["variant 'second': big-endian, unlike 'first'"]


def test_inner_maps_are_compared(tmp_path: Path) -> None:
    outer = MapSpec("config", MapType.HASH_OF_MAPS, 4, 4, 2, 0, MapOrigin.BTF, inner=COUNTS)
    extra = '[interface.maps.config]\ntype = "HASH_OF_MAPS"\nkey_size = 4\nvalue_size = 4\n'
    changed = replace(outer, inner=replace(COUNTS, type=MapType.HASH, max_entries=9))
    assert found(tmp_path, spec(outer), spec(changed), extra) == [
        "variant 'second': map 'config': inner map: type is HASH, in variant 'first' it is ARRAY",
        "variant 'second': map 'config': inner map: max_entries is 9, in variant 'first' it is 2",
    ]
    said = found(tmp_path, spec(outer), spec(outer, btf=types(32)), extra)
    assert said == [
        "variant 'second': map 'config': inner map: member 'types' at bit 32, in variant 'first' at bit 0"
    ]


def test_struct_ops_are_told_by_their_struct(tmp_path: Path) -> None:
    ops = MapSpec(
        "config", MapType.STRUCT_OPS, 4, 48, 1, 0, MapOrigin.STRUCT_OPS,
        struct_ops=StructOpsSpec("hid_bpf_ops", 2, {}, False),
    )  # fmt: skip
    flavour = replace(ops, value_size=56, struct_ops=StructOpsSpec("hid_bpf_ops___old", 2, {}, False))
    other = replace(ops, struct_ops=StructOpsSpec("tcp_congestion_ops", 2, {}, False))
    extra = '[interface.maps.config]\ntype = "STRUCT_OPS"\n'
    assert found(tmp_path, spec(ops), spec(flavour), extra) == []
    assert found(tmp_path, spec(ops), spec(other), extra) == [
        "variant 'second': map 'config': is a struct tcp_congestion_ops, "
        "in variant 'first' a struct hid_bpf_ops"
    ]
    said = found(tmp_path, spec(ops), spec(other), extra + 'value = "struct hid_bpf_ops"\n')
    assert said == [
        "variant 'second': map 'config': is a struct tcp_congestion_ops, the manifest says struct hid_bpf_ops"
    ]


def test_global_variables_are_exported_by_section() -> None:
    data = MapSpec("test.bss", MapType.ARRAY, 4, 8, 1, 0, MapOrigin.BSS, section=".bss")
    custom = MapSpec(".data.mine", MapType.ARRAY, 4, 8, 1, 0, MapOrigin.DATA, section=".data.mine")
    opened = spec(data, custom, COUNTS)
    assert exported_map(opened, ".bss") is data
    assert exported_map(opened, ".data.mine") is custom
    assert exported_map(opened, "config") is COUNTS
    assert exported_map(opened, "test.bss") is None


def test_one_error_tells_all(tmp_path: Path) -> None:
    (tmp_path / "holdfast.toml").write_text(MINIMAL + MAP)
    manifest = read_manifest(tmp_path)
    with pytest.raises(InterfaceMismatchError) as caught:
        check_interface(manifest, {"first": spec(), "second": spec()})
    assert str(caught.value) == f"{manifest.path}: variant 'first': no map 'config' (there are: none)"
    assert caught.value.hint == "and also: variant 'second': no map 'config' (there are: none)"
