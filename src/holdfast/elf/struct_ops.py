# SPDX-License-Identifier: Apache-2.0
"""struct_ops maps of an object (``init_struct_ops_maps()`` and ``bpf_object__collect_st_ops_relos()`` of
libbpf).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Datasec, FuncProto, Kind, Ptr, Struct, Var
from holdfast.elf.functions import Function, find_function
from holdfast.elf.image import ElfImage, ElfRelocation, ElfSection
from holdfast.elf.maps import Refusal, VariableOffsets
from holdfast.elf.sections import find_section
from holdfast.elf.spec import MapOrigin, MapSpec, StructOpsSpec
from holdfast.insn import INSN_SIZE
from holdfast.terms import MapFlag, MapType, ProgramType

__all__ = ["struct_ops_maps"]

_SECTIONS: Final = (".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link")
_RULE: Final = "init_struct_ops_maps"
_RELOS: Final = "bpf_object__collect_st_ops_relos"


def struct_ops_maps(image: ElfImage, btf: Btf | None, functions: list[Function]) -> list[MapSpec]:
    """One map for each variable of the struct_ops sections; ``?`` before a section's name means not
    created.
    """
    maps = []
    for section in image.sections:
        if section.name in _SECTIONS and section.data:
            maps += _section_maps(image, btf, section, functions)
    return maps


def _section_maps(
    image: ElfImage, btf: Btf | None, section: ElfSection, functions: list[Function]
) -> list[MapSpec]:
    datasec_id = btf.find(section.name, Kind.DATASEC) if btf else None
    if btf is None or datasec_id is None:
        raise Refusal(f"struct_ops init: DATASEC {section.name} not found", _RULE)
    datasec = btf.type(datasec_id)
    assert isinstance(datasec, Datasec)
    link = section.name.endswith(".link")
    offsets = VariableOffsets(image, section)
    rows = [
        row for _, found in image.relocations(lambda target: target.index == section.index) for row in found
    ]
    rows.sort(key=lambda row: row.offset)
    maps: list[MapSpec] = []
    for variable in datasec.variables:
        var = btf.type(variable.type_id)
        if not isinstance(var, Var):
            raise Refusal(f"struct_ops init: a member of {section.name} is no variable", _RULE)
        type_id, shape = skip_mods_and_typedefs(btf, var.type_id)
        if not isinstance(shape, Struct) or not shape.name:
            raise Refusal(f"struct_ops init: {var.name} is not of a named struct", _RULE)
        offset = offsets.of(var, variable.offset)
        if offset + shape.size > section.size:
            raise Refusal(
                f"struct_ops init: var {var.name} is beyond the end of DATASEC {section.name}", _RULE
            )
        programs = _programs(btf, rows, shape, offset, functions)
        maps.append(
            MapSpec(
                var.name,
                MapType.STRUCT_OPS,
                4,
                shape.size,
                1,
                int(MapFlag.LINK) if link else 0,
                MapOrigin.STRUCT_OPS,
                0,
                type_id,
                # libbpf (1.4 to 1.8) forgets the ? after the first variable of the section. Should a release
                # mend that, this must ask which libbpf loads.
                autocreate=bool(maps) or not section.name.startswith("?"),
                section=section.name.removeprefix("?"),
                section_index=section.index,
                offset=offset,
                struct_ops=StructOpsSpec(shape.name, type_id, programs, link),
                contents=section.data[offset : offset + shape.size],
            )
        )
    return maps


def _programs(
    btf: Btf, rows: list[ElfRelocation], shape: Struct, offset: int, functions: list[Function]
) -> dict[str, str]:
    """Which program each function pointer of one variable names; ``rows`` are sorted by offset."""
    members = {m.bit_offset // 8: m for m in shape.members}
    programs = {}
    first = bisect_left(rows, offset, key=lambda row: row.offset)
    last = bisect_left(rows, offset + shape.size, key=lambda row: row.offset)
    for row in rows[first:last]:
        at = row.offset - offset
        member = members.get(at)
        if member is None or not _is_function_pointer(btf, member.type_id):
            name = member.name if member else f"at offset {at} of {shape.name}"
            raise Refusal(f"struct_ops reloc: cannot relocate non func ptr {name}", _RELOS)
        function = find_function(functions, row.symbol.shndx, row.symbol.value // INSN_SIZE)
        if function is None:
            raise Refusal(f"struct_ops reloc: cannot find prog to relocate func ptr {member.name}", _RELOS)
        definition = find_section(function.section.name.removeprefix("?"))
        if definition is None or definition.type is not ProgramType.STRUCT_OPS:
            raise Refusal(f"struct_ops reloc: prog {function.name} is not struct_ops BPF program", _RELOS)
        programs[member.name] = function.name
    return programs


def _is_function_pointer(btf: Btf, type_id: int) -> bool:
    _, pointer = skip_mods_and_typedefs(btf, type_id)
    if not isinstance(pointer, Ptr):
        return False
    _, pointee = skip_mods_and_typedefs(btf, pointer.type_id)
    return isinstance(pointee, FuncProto)
