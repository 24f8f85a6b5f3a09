# SPDX-License-Identifier: Apache-2.0
"""Whether all variants of a bundle export what the manifest says, and the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from holdfast.btf.reader import essential_name
from holdfast.bundle.layout import difference, spelled_names
from holdfast.bundle.mapflags import flag_names
from holdfast.errors import InterfaceMismatchError
from holdfast.terms import MapType, ProgramType

if TYPE_CHECKING:
    from holdfast.bundle.manifest import BundleManifest, InterfaceMap
    from holdfast.elf import MapSpec, ObjectSpec

__all__ = ["check_interface", "exported_map", "mismatches"]

_SIZES = ("key_size", "value_size", "max_entries")


def check_interface(manifest: BundleManifest, objects: Mapping[str, ObjectSpec]) -> None:
    """Compares every variant (``objects`` by variant name) with the manifest and with the first variant.

    Raises :class:`~holdfast.errors.InterfaceMismatchError`: the first mismatch is its message, all others
    are in the hint.
    """
    found = list(mismatches(manifest, objects))
    if found:
        rest = "; ".join(found[1:])
        hint = f"and also: {rest}" if rest else "all variants must export the interface of the manifest alike"
        raise InterfaceMismatchError(f"{manifest.path}: {found[0]}", hint=hint)


def mismatches(manifest: BundleManifest, objects: Mapping[str, ObjectSpec]) -> Iterator[str]:
    """Yields one line for each mismatch, naming variant, program or map, and what differs."""
    for variant in manifest.variants:
        spec = objects[variant.name]
        if spec.byteorder != objects[manifest.variants[0].name].byteorder:
            yield f"variant {variant.name!r}: {spec.byteorder}-endian, unlike {manifest.variants[0].name!r}"
        for problem in _programs(manifest, variant.programs or (), spec):
            yield f"variant {variant.name!r}: {problem}"
    for wanted in manifest.maps:
        first: tuple[str, ObjectSpec, MapSpec] | None = None
        for variant in manifest.variants:
            spec = objects[variant.name]
            found = exported_map(spec, wanted.name)
            if found is None:
                known = ", ".join(_exported_name(one) for one in spec.maps) or "none"
                yield f"variant {variant.name!r}: no map {wanted.name!r} (there are: {known})"
                continue
            for problem in _map(wanted, spec, found, first):
                yield f"variant {variant.name!r}: map {wanted.name!r}: {problem}"
            first = first or (variant.name, spec, found)


def exported_map(spec: ObjectSpec, name: str) -> MapSpec | None:
    """Returns a map by the name that an interface uses: global variables are ``.rodata``, ``.data`` ..."""
    return next((one for one in spec.maps if _exported_name(one) == name), None)


def _exported_name(spec: MapSpec) -> str:
    # libbpf puts the object's name before the section's, and that differs from variant to variant.
    return spec.name[spec.name.index(".") :] if spec.is_internal and "." in spec.name else spec.name


def _programs(manifest: BundleManifest, also: tuple[str, ...], spec: ObjectSpec) -> Iterator[str]:
    known = ", ".join(one.name for one in spec.programs) or "none"
    for wanted in manifest.programs:
        found = spec.program(wanted.name)
        if found is None:
            yield f"no program {wanted.name!r} (there are: {known})"
        elif found.type is ProgramType.UNSPEC:
            said = f"section {found.section!r} says no type"
            yield f"program {wanted.name!r}: {said}, the manifest says {wanted.type.name}"
        elif found.type is not wanted.type:
            yield f"program {wanted.name!r} is {found.type.name}, the manifest says {wanted.type.name}"
    for name in also:
        if spec.program(name) is None and all(name != one.name for one in manifest.programs):
            yield f"no program {name!r}, which its 'programs' name (there are: {known})"


def _map(
    wanted: InterfaceMap, spec: ObjectSpec, found: MapSpec, first: tuple[str, ObjectSpec, MapSpec] | None
) -> Iterator[str]:
    if found.type != wanted.type:
        yield f"is {_type_name(found.type)}, the manifest says {wanted.type.name}"
        return
    if wanted.type is MapType.STRUCT_OPS:
        # Sizes and layout are the running kernel's; what matters is that it is the same struct.
        yield from _struct_ops(wanted, found, first)
        return
    for size in _SIZES:
        said, here = getattr(wanted, size), getattr(found, size)
        if said is not None and here != said:
            yield f"{size} is {here}, the manifest says {said}"
        elif said is None and first and here != (there := getattr(first[2], size)):
            yield f"{size} is {here}, in variant {first[0]!r} it is {there}"
    if found.flags != wanted.flags:
        yield f"flags are {flag_names(found.flags)}, the manifest says {flag_names(wanted.flags)}"
    for part in ("key", "value"):
        yield from _named_type(part, getattr(wanted, part), spec, found)
        if first:
            yield from _layout(part, spec, found, first)
    yield from _inner(spec, found, first)


def _struct_ops(
    wanted: InterfaceMap, found: MapSpec, first: tuple[str, ObjectSpec, MapSpec] | None
) -> Iterator[str]:
    name = _essential(found)
    if wanted.value is not None and wanted.value not in (name, f"struct {name}"):
        yield f"is a struct {name}, the manifest says {wanted.value}"
    elif wanted.value is None and first and name != (there := _essential(first[2])):
        yield f"is a struct {name}, in variant {first[0]!r} a struct {there}"


def _essential(spec: MapSpec) -> str:
    # A variant may describe the struct of an older kernel, as struct x___old.
    return essential_name(spec.struct_ops.type_name) if spec.struct_ops else ""


def _named_type(part: str, name: str | None, spec: ObjectSpec, found: MapSpec) -> Iterator[str]:
    type_id = _type_id(found, part)
    if name is None:
        return
    if spec.btf is None or not type_id:
        yield f"its declaration gives no {part} type, the manifest says {name} (use __type({part}, {name}))"
        return
    names = spelled_names(spec.btf, type_id)
    if name not in names:
        yield f"its {part} is {names[-1] if names else 'a type without name'}, the manifest says {name}"


def _layout(
    part: str, spec: ObjectSpec, found: MapSpec, first: tuple[str, ObjectSpec, MapSpec]
) -> Iterator[str]:
    variant, other_spec, other = first
    here, there = _type_id(found, part), _type_id(other, part)
    # Declared by size alone (key_size, value_size): then nobody says how the bytes are laid out.
    if spec.btf is None or other_spec.btf is None or not here or not there:
        return
    differs = difference(spec.btf, here, other_spec.btf, there)
    if differs:
        subject = f"its {part}" if differs.subject == "it" else differs.subject
        yield f"{subject} {differs.here}, in variant {variant!r} {differs.there}"


def _inner(spec: ObjectSpec, found: MapSpec, first: tuple[str, ObjectSpec, MapSpec] | None) -> Iterator[str]:
    if first is None:
        return
    variant, other_spec, other = first
    if (found.inner is None) != (other.inner is None):
        yield f"{'has no' if found.inner is None else 'has an'} inner map, unlike variant {variant!r}"
    if found.inner is None or other.inner is None:
        return
    for name in ("type", *_SIZES, "flags"):
        here, there = getattr(found.inner, name), getattr(other.inner, name)
        if here != there:
            show = {"type": _type_name, "flags": flag_names}.get(name, str)
            yield f"inner map: {name} is {show(here)}, in variant {variant!r} it is {show(there)}"
    for part in ("key", "value"):
        for problem in _layout(part, spec, found.inner, (variant, other_spec, other.inner)):
            yield f"inner map: {problem}"


def _type_id(spec: MapSpec, part: str) -> int:
    return spec.key_type_id if part == "key" else spec.value_type_id


def _type_name(kind: int) -> str:
    return kind.name if isinstance(kind, MapType) else f"map type {kind}"
