# SPDX-License-Identifier: Apache-2.0
"""Externs of an object: kconfig values, kernel symbols and kfuncs (``bpf_object__collect_externs()`` of
libbpf).
"""

from __future__ import annotations

from typing import Final

from holdfast.btf import Btf
from holdfast.btf.skip import UnsizedError, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import (
    Array,
    BtfType,
    Composite,
    Datasec,
    Enum,
    Func,
    Int,
    Kind,
    Var,
    VarLinkage,
    Void,
)
from holdfast.elf.image import STB_WEAK, ElfImage, ElfSymbol
from holdfast.elf.maps import Refusal, internal_map_name
from holdfast.elf.spec import ExternKind, ExternSpec, MapOrigin, MapSpec
from holdfast.terms import MapFlag, MapType

__all__ = ["kconfig_map", "read_externs"]

_RULE: Final = "bpf_object__collect_externs"


def read_externs(image: ElfImage, btf: Btf | None) -> tuple[list[ExternSpec], dict[int, str]]:
    """The externs and, by ELF symbol index, the name of the extern that a symbol is.

    Externs come in libbpf's order: kconfig ones by alignment, size and name with their places in the
    ``.kconfig`` map, then kernel symbols by name.
    """
    symbols = [s for s in image.symbols if s.is_extern and s.name]
    if not symbols:
        return [], {}
    if btf is None:
        hint = "compile with -g, so that the extern has BTF"
        raise Refusal(f"failed to find BTF for extern '{symbols[0].name}'", _RULE, hint)
    declared = _declared(btf)
    sections = _sections(btf)
    kconfig: list[tuple[int, ExternSpec]] = []
    ksyms: list[ExternSpec] = []
    names = {}
    for symbol in symbols:
        names[symbol.index] = symbol.name
        btf_id = declared.get(symbol.name)
        if btf_id is None:
            raise Refusal(f"failed to find BTF for extern '{symbol.name}'", _RULE)
        match sections.get(btf_id):
            case ".kconfig":
                kconfig.append(_kconfig(btf, symbol, btf_id))
            case ".ksyms":
                ksyms.append(_ksym(btf, symbol, btf_id))
            case None:
                raise Refusal(f"failed to find BTF for extern '{symbol.name}' section", _RULE)
            case other:
                raise Refusal(f"unrecognized extern section '{other}'", _RULE)
    return _place(kconfig) + sorted(ksyms, key=lambda e: e.name), names


def _declared(btf: Btf) -> dict[str, int]:
    """Ids of extern variables and functions by name (``find_extern_btf_id()``)."""
    found: dict[str, int] = {}
    for type_id in btf.own_of_kind(Kind.VAR, Kind.FUNC):
        declared = btf.type(type_id)
        if isinstance(declared, Var | Func) and declared.linkage == VarLinkage.GLOBAL_EXTERN:
            found.setdefault(declared.name, type_id)
    return found


def _sections(btf: Btf) -> dict[int, str]:
    found: dict[int, str] = {}
    for type_id in btf.own_of_kind(Kind.DATASEC):
        datasec = btf.type(type_id)
        assert isinstance(datasec, Datasec)
        for variable in datasec.variables:
            found.setdefault(variable.type_id, datasec.name)
    return found


def _kconfig(btf: Btf, symbol: ElfSymbol, btf_id: int) -> tuple[int, ExternSpec]:
    """(alignment in bytes, the extern); its type must be one that libbpf can fill (``find_kcfg_type()``)."""
    declared = btf.type(btf_id)
    if not isinstance(declared, Var):
        raise Refusal(f"extern function {symbol.name} is unsupported under .kconfig section", _RULE)
    type_id, shape = skip_mods_and_typedefs(btf, declared.type_id)
    try:
        size = resolve_size(btf, declared.type_id, 8)
    except UnsizedError:
        size = 0
    if size <= 0:
        raise Refusal(f"failed to resolve size of extern (kcfg) '{symbol.name}'", _RULE)
    if not _is_kconfig_type(btf, shape):
        raise Refusal(f"extern (kcfg) '{symbol.name}': type is unsupported", _RULE)
    weak = symbol.bind == STB_WEAK
    spec = ExternSpec(symbol.name, ExternKind.KCONFIG, weak, btf_id, type_id, size)
    return _alignment(btf, shape), spec


def _is_kconfig_type(btf: Btf, shape: BtfType) -> bool:
    if isinstance(shape, Int):
        return shape.size in (1, 2, 4, 8)
    if isinstance(shape, Enum):
        return not shape.wide and shape.size == 4 and shape.name == "libbpf_tristate"
    if isinstance(shape, Array) and shape.nelems:
        _, element = skip_mods_and_typedefs(btf, shape.type_id)
        return isinstance(element, Int) and element.size == 1
    return False


def _alignment(btf: Btf, shape: BtfType) -> int:
    if isinstance(shape, Array):
        _, element = skip_mods_and_typedefs(btf, shape.type_id)
        return _alignment(btf, element) if isinstance(element, Int) else 1
    return min(8, shape.size) if isinstance(shape, Int | Enum | Composite) else 1


def _place(rows: list[tuple[int, ExternSpec]]) -> list[ExternSpec]:
    """Offsets in the .kconfig map (``cmp_externs()``, then rounded up to each alignment)."""
    placed = []
    offset = 0
    for alignment, spec in sorted(rows, key=lambda row: (-row[0], row[1].size, row[1].name)):
        offset = -(-offset // alignment) * alignment
        placed.append(
            ExternSpec(spec.name, spec.kind, spec.weak, spec.btf_id, spec.type_id, spec.size, offset)
        )
        offset += spec.size
    return placed


def _ksym(btf: Btf, symbol: ElfSymbol, btf_id: int) -> ExternSpec:
    declared = btf.type(btf_id)
    weak = symbol.bind == STB_WEAK
    if isinstance(declared, Func):
        return ExternSpec(symbol.name, ExternKind.KFUNC, weak, btf_id, declared.type_id)
    assert isinstance(declared, Var)
    type_id, shape = skip_mods_and_typedefs(btf, declared.type_id)
    kind = ExternKind.KSYM_UNTYPED if isinstance(shape, Void) else ExternKind.KSYM_TYPED
    return ExternSpec(symbol.name, kind, weak, btf_id, type_id)


def kconfig_map(externs: list[ExternSpec], btf: Btf | None, object_name: str) -> MapSpec | None:
    """The map that holds kconfig externs, None without any (``bpf_object__init_kconfig_map()``)."""
    placed = [e for e in externs if e.kind is ExternKind.KCONFIG]
    if not placed:
        return None
    datasec = btf.find(".kconfig", Kind.DATASEC) if btf else None
    name = internal_map_name(object_name, ".kconfig")
    size = placed[-1].offset + placed[-1].size
    flags = int(MapFlag.RDONLY_PROG | MapFlag.MMAPABLE)
    return MapSpec(
        name, MapType.ARRAY, 4, size, 1, flags, MapOrigin.KCONFIG, 0, datasec or 0, section=".kconfig"
    )
