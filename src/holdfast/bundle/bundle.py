# SPDX-License-Identifier: Apache-2.0
"""A bundle, opened: its manifest, and its variants as bytes that were read once and agree with each other."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.bundle.interface import check_interface, exported_map
from holdfast.bundle.manifest import BundleManifest, Fallback, Variant, read_manifest
from holdfast.elf import ObjectSpec, object_from_bytes
from holdfast.errors import ManifestError, UsageError
from holdfast.terms import MapType

__all__ = ["Bundle", "BuiltVariant"]

_MAX_OBJECT = 256 << 20  # bytes; the largest real object is under 20 MB


@dataclass(frozen=True, slots=True)
class BuiltVariant:
    """A variant with its object: what is judged is what will be loaded, whatever happens to the file."""

    variant: Variant
    path: Path
    content: bytes = field(repr=False)
    spec: ObjectSpec = field(repr=False)
    programs: tuple[str, ...]  # to be loaded, those of the interface first

    @property
    def name(self) -> str:
        return self.variant.name

    @property
    def sha256(self) -> str:
        """Returns the digest of the object, in hexadecimal."""
        return self.spec.sha256


@dataclass(frozen=True, slots=True)
class Bundle:
    """What :meth:`open` returns: ``variants`` best first, all with the interface of ``manifest``."""

    manifest: BundleManifest
    variants: tuple[BuiltVariant, ...]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Reads a bundle's folder (or its holdfast.toml) and all its objects.

        Raises :class:`~holdfast.errors.ManifestError`, :class:`~holdfast.errors.ObjectFileError` or
        :class:`~holdfast.errors.BtfError` (a damaged object),
        :class:`~holdfast.errors.InterfaceMismatchError`.
        """
        manifest = read_manifest(Path(path))
        files = {variant.name: _read(manifest, variant) for variant in manifest.variants}
        objects = {name: object_from_bytes(content, str(file)) for name, (file, content) in files.items()}
        check_interface(manifest, objects)
        built = []
        for variant in manifest.variants:
            file, content = files[variant.name]
            spec = objects[variant.name]
            built.append(BuiltVariant(variant, file, content, spec, _to_load(manifest, variant, spec)))
        return cls(manifest, tuple(built))

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def path(self) -> Path:
        """Returns the folder."""
        return self.manifest.folder

    @property
    def fallback(self) -> Fallback | None:
        return self.manifest.fallback

    def variant(self, name: str) -> BuiltVariant:
        """Returns a variant. Raises :class:`~holdfast.errors.UsageError` that names those there are."""
        for one in self.variants:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.variants)
        raise UsageError(f"{self.name}: no variant {name!r}", hint=f"there are: {known}")


def _read(manifest: BundleManifest, variant: Variant) -> tuple[Path, bytes]:
    file = manifest.folder / variant.object
    place = f"variant {variant.name!r} object"
    try:
        if not file.resolve().is_relative_to(manifest.folder.resolve()):
            raise ManifestError(
                str(manifest.path),
                f"{variant.object!r} is a link that leaves the bundle's folder",
                place=place,
                hint="copy the object into the folder",
            )
        if file.stat().st_size > _MAX_OBJECT:
            problem = f"{variant.object!r} is larger than {_MAX_OBJECT >> 20} MiB"
            raise ManifestError(str(manifest.path), problem, place=place)
        return file, file.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, until Python 3.13
        reason = getattr(error, "strerror", None) or str(error)
        problem = f"{variant.object!r} cannot be read ({reason})"
        raise ManifestError(str(manifest.path), problem, place=place, hint=_how_to_build(variant)) from None


def _how_to_build(variant: Variant) -> str:
    if variant.source is None:
        return "build it, or correct the path"
    compiler = f"clang --target=bpf -g -O2 -c {variant.source} -o {variant.object}"
    return f"build it: scripts/build-bpf here, or {compiler} in the bundle's folder"


def _to_load(manifest: BundleManifest, variant: Variant, spec: ObjectSpec) -> tuple[str, ...]:
    exported = [one.name for one in manifest.programs]
    if variant.programs is not None:
        return (*exported, *(name for name in variant.programs if name not in exported))
    # A struct_ops map cannot do without its programs, and nobody calls them by name.
    members: list[str] = []
    for wanted in manifest.maps:
        if wanted.type is MapType.STRUCT_OPS:
            found = exported_map(spec, wanted.name)
            if found is not None and found.struct_ops is not None:
                members += found.struct_ops.programs.values()
    return tuple(dict.fromkeys([*exported, *members]))
