# SPDX-License-Identifier: Apache-2.0
"""Declared elements: what ``values`` of a map of maps or of a program array begins with
(``bpf_object__collect_map_relos()`` of libbpf).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Datasec, Kind, Struct, Var
from holdfast.elf.functions import Function
from holdfast.elf.image import ElfImage, ElfRelocation
from holdfast.elf.maps import MAP_IN_MAP, Refusal
from holdfast.elf.spec import InitialSlot, MapOrigin, MapSpec
from holdfast.insn import INSN_SIZE
from holdfast.terms import MapType

__all__ = ["with_slots"]

_RULE: Final = "bpf_object__collect_map_relos"
_POINTER: Final = 8  # bytes, on every BPF target


def with_slots(
    image: ElfImage, btf: Btf | None, maps: list[MapSpec], functions: Sequence[Function]
) -> list[MapSpec]:
    """The maps with the elements that the relocations of ``.maps`` declare.

    Raises :exc:`~holdfast.elf.maps.Refusal` for what is no map of ``.maps`` or no entry-point program.
    """
    rows = [row for _, rows in image.relocations(lambda section: section.name == ".maps") for row in rows]
    if not rows or btf is None:
        return maps
    declared = sorted((m for m in maps if m.origin is MapOrigin.BTF), key=lambda m: m.offset)
    offsets = [m.offset for m in declared]
    values = _offsets_of_values(btf)
    programs = {f.name: f for f in functions if not f.is_subprog}
    known = {m.name for m in maps}
    found: dict[str, list[InitialSlot]] = {}
    for row in rows:
        at = bisect_right(offsets, row.offset) - 1
        if at < 0:
            raise Refusal(f".maps relo: cannot find map at offset {row.offset}", _RULE)
        spec = declared[at]
        _check(spec, row, known, programs, spec.section_index)
        inside = row.offset - spec.offset - values.get(spec.name, 1 << 32)
        if inside < 0 or inside % _POINTER:
            raise Refusal(f".maps relo: offset {row.offset} is no element of map '{spec.name}'", _RULE)
        found.setdefault(spec.name, []).append(InitialSlot(inside // _POINTER, row.symbol.name))
    return [replace(m, slots=tuple(found[m.name])) if m.name in found else m for m in maps]


def _check(
    spec: MapSpec, row: ElfRelocation, maps: set[str], programs: dict[str, Function], section_index: int
) -> None:
    name = row.symbol.name
    if spec.type in MAP_IN_MAP:
        if row.symbol.shndx != section_index:
            raise Refusal(f".maps relo: '{name}' isn't a BTF-defined map", _RULE)
        if spec.type is MapType.HASH_OF_MAPS and spec.key_size != 4:
            raise Refusal(f".maps relo: hash-of-maps '{spec.name}' should have key size 4", _RULE)
        if name not in maps:
            raise Refusal(f".maps relo: '{name}' isn't a valid map reference", _RULE)
    elif spec.type is MapType.PROG_ARRAY:
        function = programs.get(name)
        if function is None:
            raise Refusal(f".maps relo: '{name}' isn't a valid program reference", _RULE)
        place = (function.section.index, function.slot * INSN_SIZE)
        if place != (row.symbol.shndx, row.symbol.value):
            raise Refusal(f".maps relo: '{name}' isn't an entry-point program", _RULE)
    else:
        raise Refusal(f".maps relo: map '{spec.name}' takes no elements", _RULE)


def _offsets_of_values(btf: Btf) -> dict[str, int]:
    """By map, where its last member stands in its declaration, in bytes, if that is ``values``."""
    found: dict[str, int] = {}
    datasec_id = btf.find(".maps", Kind.DATASEC)
    datasec = btf.type(datasec_id) if datasec_id is not None else None
    for variable in datasec.variables if isinstance(datasec, Datasec) else ():
        var = btf.type(variable.type_id)
        if not isinstance(var, Var):
            continue
        _, definition = skip_mods_and_typedefs(btf, var.type_id)
        if isinstance(definition, Struct) and definition.members:
            last = definition.members[-1]
            if last.name == "values":
                found[var.name] = last.bit_offset // 8
    return found
