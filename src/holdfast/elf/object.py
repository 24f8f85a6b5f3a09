# SPDX-License-Identifier: Apache-2.0
"""Open a BPF object file: bytes to :class:`~holdfast.elf.spec.ObjectSpec`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Final, TypeVar

from holdfast.btf import Btf
from holdfast.btf.ext import BtfExt
from holdfast.elf.externs import kconfig_map, read_externs
from holdfast.elf.functions import Function, read_functions
from holdfast.elf.image import ElfImage, read_image
from holdfast.elf.link import Linker
from holdfast.elf.maps import Refusal, data_maps, declared_maps, legacy_maps
from holdfast.elf.spec import ExternSpec, InitialSlot, MapOrigin, MapSpec, ObjectRelo, ObjectSpec, OpenProblem
from holdfast.elf.struct_ops import struct_ops_maps
from holdfast.errors import ObjectFileError
from holdfast.insn import INSN_SIZE

__all__ = ["object_from_bytes", "open_object"]

MAX_FILE: Final = 256 << 20  # bytes; the largest real object is under 20 MB
_T = TypeVar("_T")


def open_object(path: str | PurePath) -> ObjectSpec:
    """Read a BPF object file.

    Raises :exc:`~holdfast.errors.ObjectFileError` for a file that is no BPF object or a damaged one, and
    :exc:`~holdfast.errors.BtfError` for damaged BTF. What only libbpf refuses (a legacy ``maps`` section, a
    static program ...) is kept in ``problems`` and the rest is read.
    """
    name = str(path)
    try:
        if Path(name).stat().st_size > MAX_FILE:
            raise ObjectFileError(name, f"larger than {MAX_FILE >> 20} MiB, which no BPF object is")
        data = Path(name).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ObjectFileError(name, f"cannot be read ({reason})", hint="check the path") from None
    return object_from_bytes(data, name)


def object_from_bytes(data: bytes, path: str = "<bytes>") -> ObjectSpec:
    """As :func:`open_object`, for an object in memory; ``path`` names it in messages and its internal
    maps.
    """
    return _Opener(read_image(data, path)).open(sha256(data).hexdigest())


class _Opener:
    def __init__(self, image: ElfImage) -> None:
        self.image = image
        self.path = image.path
        self.name = PurePath(image.path).name.partition(".")[0][:15]
        self.problems: list[OpenProblem] = []

    def attempt(self, step: Callable[[], _T], otherwise: _T) -> _T:
        """Run one step of libbpf's; what it refuses becomes a problem of the object."""
        try:
            return step()
        except Refusal as refusal:
            self.problems.append(OpenProblem(refusal.message, refusal.rule, refusal.hint))
            return otherwise

    def open(self, digest: str) -> ObjectSpec:
        image = self.image
        if image.named("maps"):
            self.problems.append(
                OpenProblem(
                    "legacy map definitions in 'maps' section are not supported by libbpf v1.0+",
                    "bpf_object__elf_collect",
                    'declare the maps in BTF: SEC(".maps")',
                )
            )
        btf, ext = self.btf()
        no_functions: list[Function] = []
        functions = self.attempt(lambda: read_functions(image, ext), no_functions)
        no_externs: tuple[list[ExternSpec], dict[int, str]] = ([], {})
        externs, names = self.attempt(lambda: read_externs(image, btf), no_externs)
        maps = self.maps(btf, externs, functions)
        programs = Linker(image, functions, maps, names).programs()
        return ObjectSpec(
            self.path,
            digest,
            image.byteorder,
            self.license(),
            self.version(),
            tuple(programs),
            tuple(maps),
            tuple(externs),
            btf,
            tuple(self.problems),
            tuple(_core_relos(ext, functions)),
        )

    def btf(self) -> tuple[Btf | None, BtfExt]:
        section = self.image.named(".BTF")
        if section is None or not section.data:
            return None, BtfExt()
        btf = Btf.from_bytes(section.data, origin=f"{self.path}: section .BTF")
        ext = self.image.named(".BTF.ext")
        if ext is None or not ext.data:
            return btf, BtfExt()
        return btf, BtfExt.from_bytes(ext.data, btf, f"{self.path}: section .BTF.ext")

    def maps(self, btf: Btf | None, externs: list[ExternSpec], functions: list[Function]) -> list[MapSpec]:
        none: list[MapSpec] = []
        maps = self.attempt(lambda: declared_maps(self.image, btf), none)
        maps = maps + self.attempt(lambda: legacy_maps(self.image), none)
        maps += data_maps(self.image, btf, self.name)
        kconfig = kconfig_map(externs, btf, self.name)
        maps += [kconfig] if kconfig else []
        maps += self.attempt(lambda: struct_ops_maps(self.image, btf, functions), none)
        return self.attempt(lambda: _with_slots(self.image, maps), maps)

    def license(self) -> str:
        section = self.image.named("license")
        return section.data.partition(b"\0")[0].decode("utf-8", "replace") if section else ""

    def version(self) -> int | None:
        section = self.image.named("version")
        if section is None or len(section.data) != 4:
            return None
        (value,) = struct.unpack("<I" if self.image.byteorder == "little" else ">I", section.data)
        return int(value)


def _core_relos(ext: BtfExt, functions: list[Function]) -> Iterator[ObjectRelo]:
    homes: dict[str, list[Function]] = {}
    for function in functions:
        homes.setdefault(function.section.name, []).append(function)
    for section, relos in ext.core_relos.items():
        for relo in relos:
            at = relo.insn_off // INSN_SIZE
            for function in homes.get(section, []):
                slot = at - function.slot
                if 0 <= slot < len(function.insns):
                    following = function.insns[slot + 1] if slot + 1 < len(function.insns) else None
                    insn = function.insns[slot]
                    yield ObjectRelo(function.index, function.is_subprog, slot, insn, following, relo)


def _with_slots(image: ElfImage, maps: list[MapSpec]) -> list[MapSpec]:
    """Fill in the declared elements of maps of maps and program arrays
    (``bpf_object__collect_map_relos()``).
    """
    found: dict[str, list[InitialSlot]] = {}
    declared = [m for m in maps if m.origin is MapOrigin.BTF]
    for _, target, rows in image.relocations():
        if target.name != ".maps":
            continue
        for row in rows:
            owner = max((m for m in declared if m.offset <= row.offset), key=lambda m: m.offset, default=None)
            if owner is None:
                raise Refusal(
                    f".maps relo: cannot find map at offset {row.offset}", "bpf_object__collect_map_relos"
                )
            slots = found.setdefault(owner.name, [])
            slots.append(InitialSlot(row.offset, row.symbol.name))
    result = []
    for spec in maps:
        rows_of = found.get(spec.name)
        if rows_of and spec.origin is MapOrigin.BTF:
            first = min(row.index for row in rows_of)
            slots_of = tuple(InitialSlot((row.index - first) // 8, row.target) for row in rows_of)
            spec = replace(spec, slots=slots_of)
        result.append(spec)
    return result
