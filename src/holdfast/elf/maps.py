# SPDX-License-Identifier: Apache-2.0
"""Maps of an object: declared in BTF, in the legacy ``maps`` section, or implied by a data section.

Follows ``bpf_object__init_maps()`` of libbpf.c and what it calls; a problem that makes libbpf refuse the
object is raised as :exc:`Refusal`, a damaged file as :exc:`~holdfast.errors.ObjectFileError`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.skip import UnsizedError, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Array, Datasec, Enum, FuncProto, Kind, Member, Ptr, Struct, Var, VarLinkage
from holdfast.elf.image import SHT_NOBITS, SHT_PROGBITS, ElfImage, ElfSection
from holdfast.elf.spec import MapOrigin, MapSpec
from holdfast.terms import MapFlag, MapType

__all__ = [
    "MAP_IN_MAP",
    "Refusal",
    "VariableOffsets",
    "data_maps",
    "declared_maps",
    "legacy_maps",
]

MAP_IN_MAP: Final = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
_LEGACY_FIELDS: Final = 5  # type, key_size, value_size, max_entries, map_flags


class Refusal(Exception):
    """libbpf refuses to open the object; ``rule`` is the function of libbpf that does."""

    def __init__(self, message: str, rule: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.hint = hint


def map_type(number: int) -> MapType | int:
    """The enumerator where the number is known."""
    return MapType(number) if number in MapType.__members__.values() else number


def declared_maps(image: ElfImage, btf: Btf | None) -> list[MapSpec]:
    """Maps of the ``.maps`` section, in the order of its DATASEC (``bpf_object__init_user_btf_maps()``)."""
    section = image.named(".maps")
    if section is None:
        return []
    rule = "bpf_object__init_user_btf_maps"
    datasec_id = btf.find(".maps", Kind.DATASEC) if btf else None
    if btf is None or datasec_id is None:
        raise Refusal("the .maps section has no BTF that describes it", rule, "compile with -g")
    datasec = btf.type(datasec_id)
    assert isinstance(datasec, Datasec)
    offsets = VariableOffsets(image, section)
    maps = []
    for variable in datasec.variables:
        var = btf.type(variable.type_id)
        if not isinstance(var, Var) or not var.name:
            raise Refusal(f"a map at offset {variable.offset:#x} of .maps is no named variable", rule)
        offset = offsets.of(var, variable.offset)
        if offset + variable.size > section.size:
            raise Refusal(f"map '{var.name}' BTF data is corrupted: it lies outside .maps", rule)
        if var.linkage != VarLinkage.GLOBAL_ALLOCATED:
            hint = "declare the map as a global variable, not static or extern"
            raise Refusal(f"map '{var.name}': unsupported map linkage {var.linkage}", rule, hint)
        _, definition = skip_mods_and_typedefs(btf, var.type_id)
        if not isinstance(definition, Struct) or definition.size > variable.size:
            raise Refusal(f"map '{var.name}': its declaration is not a struct", rule)
        spec = _Definition(btf, var.name).read(definition)
        maps.append(replace(spec, section=section.name, section_index=section.index, offset=offset))
    return maps


class VariableOffsets:
    """Where the variables of one section stand in it, in bytes.

    clang leaves the offsets of a DATASEC 0 and libbpf takes those of global variables from the symbol table
    (``btf_fixup_datasec()``).
    """

    def __init__(self, image: ElfImage, section: ElfSection) -> None:
        self.values: dict[str, int] = {}
        for symbol in image.symbols:
            if symbol.shndx == section.index:
                self.values.setdefault(symbol.name, symbol.value)

    def of(self, var: Var, declared: int) -> int:
        """The offset of ``var``; ``declared`` is what the DATASEC says."""
        return declared if var.linkage == VarLinkage.STATIC else self.values.get(var.name, declared)


@dataclass
class _Definition:
    """One map declaration (``parse_btf_map_def()``)."""

    btf: Btf
    name: str
    is_inner: bool = False

    def refuse(self, problem: str) -> Refusal:
        return Refusal(f"map '{self.name}': {problem}", "parse_btf_map_def")

    def read(self, definition: Struct) -> MapSpec:
        fields: dict[str, int] = {}
        key_type = value_type = 0
        inner = None
        for position, member in enumerate(definition.members):
            match member.name:
                case "pinning" if self.is_inner:
                    raise self.refuse("inner def can't be pinned")
                case "type" | "max_entries" | "map_flags" | "numa_node" | "pinning":
                    fields[member.name] = self.integer(member)
                case "map_extra":
                    fields[member.name] = self.integer(member)
                case "key_size" | "value_size":
                    self.set_size(fields, member.name, self.integer(member))
                case "key":
                    key_type, size = self.pointee(member)
                    self.set_size(fields, "key_size", size)
                case "value":
                    value_type, size = self.pointee(member)
                    self.set_size(fields, "value_size", size)
                case "values":
                    if self.is_inner:
                        raise self.refuse("multi-level inner maps not supported")
                    if position != len(definition.members) - 1:
                        raise self.refuse("'values' member should be last")
                    self.set_size(fields, "value_size", 4)
                    inner = self.inner(member, fields.get("type", 0))
                case other:
                    raise self.refuse(f"unknown field '{other}'")
        if not fields.get("type"):
            raise self.refuse("map type isn't specified")
        if fields.get("pinning", 0) not in (0, 1):
            raise self.refuse(f"invalid pinning value {fields['pinning']}")
        kind = map_type(fields["type"])
        return MapSpec(
            self.name,
            kind,
            fields.get("key_size", 0),
            fields.get("value_size", 0),
            fields.get("max_entries", 0),
            fields.get("map_flags", 0),
            MapOrigin.BTF,
            key_type,
            value_type,
            fields.get("map_extra", 0),
            fields.get("numa_node", 0),
            fields.get("pinning", 0),
            inner=inner,
        )

    def set_size(self, fields: dict[str, int], name: str, size: int) -> None:
        if fields.get(name, size) not in (0, size):
            raise self.refuse(f"conflicting {name.replace('_', ' ')} {fields[name]} != {size}")
        fields[name] = size

    def integer(self, member: Member) -> int:
        """``__uint(name, N)`` is ``int (*name)[N]``; ``__ulong`` is an enumerator of that value."""
        _, pointer = skip_mods_and_typedefs(self.btf, member.type_id)
        if isinstance(pointer, Ptr):
            array = self.btf.type(pointer.type_id)
            if isinstance(array, Array):
                return array.nelems
        elif member.name == "map_extra":
            values = pointer.values if isinstance(pointer, Enum) else ()
            if len(values) == 1:
                return int(values[0].value)
        raise self.refuse(f"attr '{member.name}': expected PTR to ARRAY")

    def pointee(self, member: Member) -> tuple[int, int]:
        pointer = self.btf.type(member.type_id)
        if not isinstance(pointer, Ptr):
            raise self.refuse(f"{member.name} spec is not PTR")
        try:
            return pointer.type_id, resolve_size(self.btf, pointer.type_id, 8)
        except UnsizedError:
            raise self.refuse(f"can't determine {member.name} size for type [{pointer.type_id}]") from None

    def inner(self, member: Member, kind: int) -> MapSpec | None:
        if kind not in (*MAP_IN_MAP, MapType.PROG_ARRAY):
            raise self.refuse("should be map-in-map or prog-array")
        array = self.btf.type(member.type_id)
        if not isinstance(array, Array) or array.nelems:
            raise self.refuse("values spec is not a zero-sized array")
        _, pointer = skip_mods_and_typedefs(self.btf, array.type_id)
        if not isinstance(pointer, Ptr):
            raise self.refuse("values def is not a pointer")
        _, pointee = skip_mods_and_typedefs(self.btf, pointer.type_id)
        if kind == MapType.PROG_ARRAY:
            if not isinstance(pointee, FuncProto):
                raise self.refuse("prog-array value def is not a function")
            return None
        if not isinstance(pointee, Struct):
            raise self.refuse("map-in-map inner def is not a struct")
        return _Definition(self.btf, f"{self.name}.inner", is_inner=True).read(pointee)


def data_maps(image: ElfImage, btf: Btf | None, object_name: str) -> list[MapSpec]:
    """Array maps that libbpf makes of data sections (``bpf_object__init_global_data_maps()``)."""
    maps = []
    for section in image.sections:
        origin = _data_origin(section)
        if origin is None or section.size == 0:
            continue
        datasec_id = btf.find(section.name, Kind.DATASEC) if btf else None
        flags = int(MapFlag.RDONLY_PROG) if origin is MapOrigin.RODATA else 0
        if btf and datasec_id and _has_global_variable(btf, datasec_id):
            flags |= int(MapFlag.MMAPABLE)
        maps.append(
            MapSpec(
                _data_map_name(object_name, section.name, origin),
                MapType.ARRAY,
                4,
                section.size,
                1,
                flags,
                origin,
                0,
                datasec_id or 0,
                section=section.name,
                section_index=section.index,
                contents=section.data if origin is not MapOrigin.BSS else None,
            )
        )
    return maps


def _data_origin(section: ElfSection) -> MapOrigin | None:
    for origin in MapOrigin.DATA, MapOrigin.RODATA:
        if section.type == SHT_PROGBITS and (section.name == origin or section.name.startswith(f"{origin}.")):
            return None if section.is_code else origin
    if section.type == SHT_NOBITS and (section.name == ".bss" or section.name.startswith(".bss.")):
        return MapOrigin.BSS
    return None


def _data_map_name(object_name: str, section: str, origin: MapOrigin) -> str:
    """The name that libbpf shows: custom ``.data.*`` and ``.rodata.*`` sections keep theirs
    (``map_uses_real_name()``), whatever the kernel calls the map.
    """
    if origin is not MapOrigin.BSS and section != origin:
        return section
    return internal_map_name(object_name, section)


def internal_map_name(object_name: str, section: str) -> str:
    """The name that libbpf gives the map of a data section (``internal_map_name()``): at most 15 characters.

    ``.bss`` and the other plain sections get as much of the object's name in front as leaves 7 characters; a
    custom section such as ``.data.mine`` stands alone.
    """
    suffix = min(max(7, len(section)), 15)
    prefix = 0 if "." in section[1:] else 15 - suffix
    name = object_name[:prefix] + section[:suffix]
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)


def _has_global_variable(btf: Btf, datasec_id: int) -> bool:
    """``map_is_mmapable()``: there is something for user space to see."""
    datasec = btf.type(datasec_id)
    if not isinstance(datasec, Datasec):
        return False
    for variable in datasec.variables:
        var = btf.type(variable.type_id)
        if isinstance(var, Var) and var.linkage != VarLinkage.STATIC:
            return True
    return False


def legacy_maps(image: ElfImage) -> list[MapSpec]:
    """``struct bpf_map_def`` declarations of the ``maps`` section, which libbpf gave up in 1.0.

    The size of one definition is the section's size divided by the number of its symbols; fields after the
    first five (5 x 4 bytes) are other loaders' own.
    """
    section = image.named("maps")
    if section is None or not section.data:
        return []
    symbols = sorted(
        (s for s in image.symbols if s.shndx == section.index and s.name and s.type != 3),
        key=lambda s: s.value,
    )
    order = "<" if image.byteorder == "little" else ">"
    maps = []
    for symbol in symbols:
        if symbol.value + 4 * _LEGACY_FIELDS > section.size:
            raise Refusal(f"map '{symbol.name}': its definition is cut off", "struct bpf_map_def")
        row = struct.unpack_from(f"{order}{_LEGACY_FIELDS}I", section.data, symbol.value)
        kind, key, value, entries, flags = row
        maps.append(
            MapSpec(
                symbol.name,
                map_type(kind),
                key,
                value,
                entries,
                flags,
                MapOrigin.LEGACY,
                section=section.name,
                section_index=section.index,
                offset=symbol.value,
            )
        )
    return maps
