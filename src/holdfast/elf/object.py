# SPDX-License-Identifier: Apache-2.0
"""Open a BPF object file: bytes to :class:`~holdfast.elf.spec.ObjectSpec`."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path, PurePath
from typing import BinaryIO, Final, TypeVar

from holdfast.btf import Btf
from holdfast.btf.ext import BtfExt
from holdfast.elf.externs import kconfig_map, read_externs
from holdfast.elf.functions import Function, find_function, read_functions
from holdfast.elf.image import ElfImage, read_image
from holdfast.elf.link import Linker
from holdfast.elf.maps import Refusal, data_maps, declared_maps, legacy_maps
from holdfast.elf.slots import with_slots
from holdfast.elf.spec import ExternSpec, MapSpec, ObjectRelo, ObjectSpec, OpenProblem
from holdfast.elf.struct_ops import struct_ops_maps
from holdfast.errors import ObjectFileError
from holdfast.insn import INSN_SIZE

__all__ = ["object_from_bytes", "open_object"]

MAX_FILE: Final = 256 << 20  # bytes; the largest real object is under 20 MB
_BLOCK: Final = 1 << 20
_MAGIC: Final = b"\x7fELF"
_T = TypeVar("_T")


def open_object(path: str | PurePath) -> ObjectSpec:
    """Read a BPF object file.

    Raises :exc:`~holdfast.errors.ObjectFileError` for a file that is no BPF object or a damaged one, and
    :exc:`~holdfast.errors.BtfError` for damaged BTF. What only libbpf refuses (a legacy ``maps`` section, a
    static program ...) is kept in ``problems`` and the rest is read.
    """
    name = str(path)
    try:
        with Path(name).open("rb") as file:
            data = _bounded(file, name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ObjectFileError(name, f"cannot be read ({reason})", hint="check the path") from None
    return object_from_bytes(data, name)


def _bounded(file: BinaryIO, name: str) -> bytes:
    """All of a file, or just its beginning where that is no ELF file's: a device may have no end."""
    pieces = [file.read(len(_MAGIC))]
    if pieces[0] != _MAGIC:
        return pieces[0]
    size = os.fstat(file.fileno()).st_size  # 0 for a pipe
    while size <= MAX_FILE and (piece := file.read(_BLOCK)):
        pieces.append(piece)
        size = max(size, sum(map(len, pieces)))
    if size > MAX_FILE:
        raise ObjectFileError(name, f"larger than {MAX_FILE >> 20} MiB, which no BPF object is")
    return b"".join(pieces)


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
            self.note(refusal)
            return otherwise

    def note(self, refusal: Refusal) -> None:
        self.problems.append(OpenProblem(refusal.message, refusal.rule, refusal.hint))

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
        functions, refused = read_functions(image, ext)
        for refusal in refused:
            self.note(refusal)
        no_externs: tuple[list[ExternSpec], dict[int, str]] = ([], {})
        externs, names = self.attempt(lambda: read_externs(image, btf), no_externs)
        maps = self.maps(btf, externs, functions)
        linker = Linker(image, btf, functions, maps, names)
        if linker.problem and not self.problems:  # else it may only follow from what was refused before
            self.note(linker.problem)
        programs = linker.programs()
        version = self.attempt(self.version, None)
        return ObjectSpec(
            self.path,
            digest,
            image.byteorder,
            self.license(),
            version,
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
        return self.attempt(lambda: with_slots(self.image, btf, maps, functions), maps)

    def license(self) -> str:
        section = self.image.named("license")
        return section.data.partition(b"\0")[0].decode("utf-8", "replace") if section else ""

    def version(self) -> int | None:
        section = self.image.named("version")
        if section is None:
            return None
        if len(section.data) != 4:
            raise Refusal(f"invalid kver section of {len(section.data)} bytes", "bpf_object__init_kversion")
        (value,) = struct.unpack("<I" if self.image.byteorder == "little" else ">I", section.data)
        return int(value)


def _core_relos(ext: BtfExt, functions: list[Function]) -> Iterator[ObjectRelo]:
    """In the order of .BTF.ext; those of code that no function has are left out, as libbpf does."""
    sections: dict[str, int] = {}
    for function in functions:
        sections.setdefault(function.section.name, function.section.index)
    for section, relos in ext.core_relos.items():
        if section not in sections:
            continue
        for relo in relos:
            at = relo.insn_off // INSN_SIZE
            home = find_function(functions, sections[section], at)
            if home is not None:
                slot = at - home.slot
                following = home.insns[slot + 1] if slot + 1 < len(home.insns) else None
                yield ObjectRelo(home.index, home.is_subprog, slot, home.insns[slot], following, relo)
