# SPDX-License-Identifier: Apache-2.0
"""``holdfast.toml``: what a bundle is, what its variants share, and what to do without any of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from holdfast.bundle.mapflags import MAP_FLAGS
from holdfast.errors import ManifestError
from holdfast.terms import MapType, ProgramType
from holdfast.toml import Table, read_toml

__all__ = [
    "MANIFEST_NAME",
    "Attach",
    "BundleManifest",
    "Fallback",
    "InterfaceMap",
    "InterfaceProgram",
    "Proof",
    "Variant",
    "read_manifest",
]

MANIFEST_NAME: Final = "holdfast.toml"
_BUNDLE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)*")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_C_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECTION_MAP: Final = re.compile(r"\.(rodata|data|bss|kconfig)(\.[A-Za-z0-9_.]+)?")
_ENTRY_POINT: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# Their sizes say nothing (the kernel's own struct, pages, nothing at all): a manifest may leave them out.
_UNSIZED: Final = frozenset(
    {MapType.RINGBUF, MapType.USER_RINGBUF, MapType.ARENA, MapType.STRUCT_OPS, MapType.INSN_ARRAY}
)


class Attach(StrEnum):
    """What is done with a loaded program: ``none`` hands it over as a descriptor, ``auto`` attaches it where
    its section says."""

    NONE = "none"
    AUTO = "auto"


_ATTACH: Final = {word.value: word for word in Attach}
_Kind = TypeVar("_Kind")
_PROGRAM_TYPES: Final = {kind.name: kind for kind in ProgramType if kind}
_MAP_TYPES: Final = {kind.name: kind for kind in MapType if kind}


@dataclass(frozen=True, slots=True)
class InterfaceProgram:
    """A program that every variant exports."""

    name: str
    type: ProgramType
    attach: Attach


@dataclass(frozen=True, slots=True)
class InterfaceMap:
    """A map that every variant exports. Sizes are bytes; ``flags`` are those of MAP_CREATE.

    None is what the manifest leaves open: variants must then agree with each other alone. ``key`` and
    ``value`` name a type as C does (``struct rss_config``). ``attach`` is ``auto`` for STRUCT_OPS maps only.
    """

    name: str
    type: MapType
    key_size: int | None
    value_size: int | None
    max_entries: int | None
    flags: int
    key: str | None
    value: str | None
    attach: Attach


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do the job; ``object`` and ``source`` are paths below the bundle's folder.

    ``programs`` are those to load (all of the interface, and what this variant needs besides); None: those of
    the interface, and of its struct_ops maps.
    """

    name: str
    object: str
    source: str | None
    summary: str
    programs: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Fallback:
    """What does the job where no variant runs; ``python`` is an entry point, ``module:attribute``."""

    name: str
    summary: str
    python: str | None


@dataclass(frozen=True, slots=True)
class Proof:
    """How to see that a loaded variant works: ``python`` is an entry point, ``module:attribute``, that is
    called with the :class:`~holdfast.load.outcome.Outcome` and returns a
    :class:`~holdfast.bundle.proof.Proved`.

    ``prepare`` is another one, or None: called without arguments, before and elsewhere (a booted kernel is
    slow), it returns a value that ``python`` gets as its second argument, of None, bool, int, float, str,
    bytes, lists, and dicts with string keys. ``ground`` is for bundles that need something to be attached to:
    a third one, or None, a context manager that is open from before loading to after the proof; see
    :func:`holdfast.load.prove.ground`.

    A booted kernel gets ``modules`` (of the kernel) inserted first, and the Python ``packages`` that the
    proof needs besides Holdfast, by import name; that of ``python`` is among them.
    """

    python: str
    prepare: str | None
    ground: str | None
    summary: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """A manifest; ``variants`` stand best first."""

    path: Path
    name: str
    version: str
    description: str
    license: str
    programs: tuple[InterfaceProgram, ...]
    maps: tuple[InterfaceMap, ...]
    variants: tuple[Variant, ...]
    fallback: Fallback | None
    proof: Proof | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent


def read_manifest(path: Path) -> BundleManifest:
    """Returns the manifest in ``path``, a bundle's folder or its holdfast.toml.

    Looks at no object. Raises :class:`~holdfast.errors.ManifestError`, which names line and table.
    """
    file = path / MANIFEST_NAME if path.is_dir() else path
    root = read_toml(file, ManifestError, hint=f"a bundle is a folder with a {MANIFEST_NAME}")
    bundle = root.table("bundle")
    interface = root.table("interface")
    manifest = BundleManifest(
        path=file,
        name=_named(bundle, "name", _BUNDLE_NAME, "lower case words with / between, as net/rss"),
        version=bundle.text("version"),
        description=bundle.text("description", ""),
        license=bundle.text("license", ""),
        programs=tuple(_program(name, one) for name, one in interface.tables_in("programs")),
        maps=tuple(_map(name, one) for name, one in interface.tables_in("maps")),
        variants=tuple(_variant(one) for one in root.array("variant")),
        fallback=_fallback(fallback) if (fallback := root.optional_table("fallback")) else None,
        proof=_proof(proof) if (proof := root.optional_table("proof")) else None,
    )
    for table in (bundle, interface, root):
        table.finish()
    _check_names(manifest)
    return manifest


def _named(table: Table, key: str, form: re.Pattern[str], what: str) -> str:
    text = table.text(key)
    if not form.fullmatch(text):
        raise table.fail(f"{text!r} is no name here", key=key, hint=what)
    return text


def _program(name: str, table: Table) -> InterfaceProgram:
    if not _C_NAME.fullmatch(name):
        raise table.fail(f"{name!r} is no name of a C function")
    kind = _kind(table, _PROGRAM_TYPES, "BPF_PROG_TYPE_")
    attach = table.choice("attach", _ATTACH, "none")
    if kind is ProgramType.STRUCT_OPS and attach is Attach.AUTO:
        hint = 'write attach = "auto" in the table of that map below [interface.maps]'
        raise table.fail("a struct_ops program is attached by its map", key="attach", hint=hint)
    table.finish()
    return InterfaceProgram(name, kind, attach)


def _map(name: str, table: Table) -> InterfaceMap:
    if not _C_NAME.fullmatch(name) and not _SECTION_MAP.fullmatch(name):
        raise table.fail(
            f"{name!r} is no name of a map", hint="a C identifier, or .rodata, .data, .bss, .kconfig"
        )
    kind = _kind(table, _MAP_TYPES, "BPF_MAP_TYPE_")
    size = table.optional_number if kind in _UNSIZED else table.number
    attach = table.choice("attach", _ATTACH, "none")
    if attach is Attach.AUTO and kind is not MapType.STRUCT_OPS:
        raise table.fail(
            "only a STRUCT_OPS map can be attached", key="attach", hint='leave it out, or "none"'
        )
    found = InterfaceMap(
        name=name,
        type=kind,
        key_size=size("key_size"),
        value_size=size("value_size"),
        max_entries=table.optional_number("max_entries"),
        flags=_flags(table),
        key=_type_name(table, "key"),
        value=_type_name(table, "value"),
        attach=attach,
    )
    table.finish()
    return found


def _kind(table: Table, kinds: Mapping[str, _Kind], prefix: str) -> _Kind:
    name = table.text("type")
    plain = name.removeprefix(prefix)
    if plain in kinds and plain != name:
        raise table.fail(f"{name!r} is not known", key="type", hint=f"write {plain!r}, without the prefix")
    return table.choice("type", kinds)


def _flags(table: Table) -> int:
    flags = 0
    for flag in table.texts("flags") or ():
        plain = flag.removeprefix("BPF_F_")
        if plain in MAP_FLAGS and plain != flag:
            hint = f"write {plain!r}, without the prefix"
            raise table.fail(f"{flag!r} is not known", key="flags", hint=hint)
        if flag not in MAP_FLAGS:
            raise table.unknown(flag, MAP_FLAGS, key="flags")
        flags |= MAP_FLAGS[flag]
    return flags


def _type_name(table: Table, key: str) -> str | None:
    name = table.optional_text(key)
    return None if name is None else " ".join(name.split())


def _variant(table: Table) -> Variant:
    name = _named(table, "name", _WORD, "a word of letters, digits, '_', '-' and '.'")
    programs = table.texts("programs")
    if programs == ():
        raise table.fail(
            "no program to load", key="programs", hint="leave the key out to load the interface's"
        )
    found = Variant(
        name=name,
        object=_inside(table, "object", table.text("object")),
        source=None
        if (source := table.optional_text("source")) is None
        else _inside(table, "source", source),
        summary=table.text("summary", ""),
        programs=programs,
    )
    table.finish()
    return found


def _inside(table: Table, key: str, text: str) -> str:
    """A path that stays below the bundle's folder as it is spelled; links are followed when it is opened."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\0" in text:
        hint = "write it relative to the folder of the manifest, without '..'"
        raise table.fail(f"{text!r} leaves the bundle's folder", key=key, hint=hint)
    return text


def _fallback(table: Table) -> Fallback:
    python = _entry_point(table, "python", table.optional_text("python"))
    name = _named(table, "name", _WORD, "a word of letters, digits, '_', '-' and '.'")
    found = Fallback(name, table.text("summary", ""), python)
    table.finish()
    return found


def _proof(table: Table) -> Proof:
    python = table.text("python")
    _entry_point(table, "python", python)
    own = python.partition(":")[0].partition(".")[0]
    packages = [own, *_words(table, "packages")]
    found = Proof(
        python,
        _entry_point(table, "prepare", table.optional_text("prepare")),
        _entry_point(table, "ground", table.optional_text("ground")),
        table.text("summary", ""),
        _words(table, "modules"),
        tuple(dict.fromkeys(one for one in packages if one != "holdfast")),
    )
    table.finish()
    return found


def _entry_point(table: Table, key: str, text: str | None) -> str | None:
    if text is not None and not _ENTRY_POINT.fullmatch(text):
        raise table.fail(f"{text!r} is no entry point", key=key, hint="write it as package.module:attribute")
    return text


def _words(table: Table, key: str) -> tuple[str, ...]:
    words = table.texts(key) or ()
    for word in words:
        if not _WORD.fullmatch(word):
            raise table.fail(f"{word!r} is no name", key=key, hint="write a name, without a path")
    return words


def _check_names(manifest: BundleManifest) -> None:
    """Refuses names that would be two things at once."""
    file = str(manifest.path)
    if not manifest.variants:
        raise ManifestError(
            file, "no variant", place="top level", hint="add a [[variant]] with name and object"
        )
    if not manifest.programs and not manifest.maps:
        hint = "name what the variants share: [interface.programs.NAME], [interface.maps.NAME]"
        raise ManifestError(file, "the interface is empty", place="[interface]", hint=hint)
    seen: dict[str, str] = {}
    words = [(f"[[variant]] {n}", one.name) for n, one in enumerate(manifest.variants, 1)]
    if manifest.fallback:
        words.append(("[fallback]", manifest.fallback.name))
    for place, word in words:
        if word in seen:
            hint = f"{seen[word]} has that name already"
            raise ManifestError(file, f"the name {word!r} stands there again", place=place, hint=hint)
        seen[word] = place
    exported: dict[str, str] = {}
    for table, names in (
        ("programs", [one.name for one in manifest.programs]),
        ("maps", [one.name for one in manifest.maps]),
    ):
        for name in names:
            # As pins and environment variables spell it.
            spelled = re.sub(r"[^A-Z0-9]", "_", name.upper())
            if spelled in exported:
                problem = (
                    f"{name!r} cannot be told from {exported[spelled]!r} in pins and environment variables"
                )
                raise ManifestError(file, problem, place=f"[interface.{table}]", hint="rename one of the two")
            exported[spelled] = name
    for number, variant in enumerate(manifest.variants, 1):
        missing = [one.name for one in manifest.programs if one.name not in (variant.programs or (one.name,))]
        if missing:
            raise ManifestError(
                file,
                f"{missing[0]!r} is not among them",
                place=f"[[variant]] {number} ({variant.name!r}) programs",
                hint="every variant loads all programs of the interface; add it, or leave the key out",
            )
