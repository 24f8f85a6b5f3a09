# SPDX-License-Identifier: Apache-2.0
"""The parts of an uncompressed kernel image that facts are read from: BTF, read-only data, release.

An x86 vmlinux is an ELF file with sections; arm64's ``Image`` is flat, so its BTF is found by its header.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from holdfast.btf.reader import BTF_MAGIC
from holdfast.errors import KernelFileError

__all__ = ["Anatomy", "Image", "Window", "dissect"]

Image = bytes | mmap.mmap

_EM_BPF: Final = 247
_ET_REL: Final = 1
_SHT_NOBITS: Final = 8
# Names as `uname -m` says them; include/uapi/linux/elf-em.h.
_ARCHES: Final[Mapping[int, str]] = {
    3: "i686",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
# linux_banner: release, builder, compiler, and what uname -v says. The first of the two in 6.1 and later has
# no number behind the "#" yet (init/version-timestamp.c, 2df8220cc511).
_BANNER: Final = re.compile(rb"Linux version (\d[\w.+~:-]{0,100}) (?:[^\n\0]{0,400}? (#\d* [^\n\0]{0,100}))?")
_BTF_HEADER: Final = struct.Struct("<HBBIIIII")
_LONGEST_NAME: Final = 256  # bytes of a section's name that are looked at
_LEAST_BTF: Final = 1 << 20  # bytes of types; a kernel has several MB


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image that is searched in place; offsets in bytes from its start."""

    image: Image = field(repr=False)
    start: int
    end: int

    def find(self, what: bytes, start: int = 0, /) -> int:
        found = self.image.find(what, self.start + start, self.end)
        return found - self.start if found >= 0 else -1

    def __getitem__(self, where: slice, /) -> bytes:
        first, last, _ = where.indices(self.end - self.start)
        return self.image[self.start + first : self.start + last]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """``btf`` raw, as it stands; ``rodata`` where tables of names and the embedded config are looked for,
    None for an ELF file without it; ``release`` and ``uname_version`` (``uname -v``) "" where no banner says
    so.
    """

    arch: str
    btf: bytes = field(repr=False)
    rodata: Window | None
    release: str
    uname_version: str


def dissect(image: Image, path: str) -> Anatomy:
    """Take an ELF file or a flat arm64 Image apart.

    Raises :exc:`~holdfast.errors.KernelFileError` for what is no kernel, is cut off, or has no BTF; ``path``
    is for its message.
    """
    if image[:4] == b"\x7fELF":
        return _elf(_Elf(image, path), path)
    return _flat(image, path)


def _elf(elf: _Elf, path: str) -> Anatomy:
    names = {section.name for section in elf.sections}
    if elf.machine == _EM_BPF:
        raise KernelFileError(
            path, "it is a BPF object, not a kernel", hint="name it as OBJECT, and a kernel with --kernel"
        )
    if elf.kind == _ET_REL and ".gnu.linkonce.this_module" in names:
        raise KernelFileError(
            path,
            "it is a kernel module",
            hint="name its kernel: the package or folder that has both, or the vmlinux",
        )
    found = elf.find(".BTF")
    if found is None:
        raise KernelFileError(
            path,
            f"it is an ELF file without section .BTF ({len(elf.sections)} sections)",
            hint="a kernel has one when built with CONFIG_DEBUG_INFO_BTF=y; a stripped debug file may not",
        )
    if found.size == 0:
        raise KernelFileError(path, "section .BTF is empty", hint="take another copy of the kernel")
    rodata = elf.find(".rodata")
    text = Window(elf.image, rodata.offset, rodata.offset + rodata.size) if rodata else None
    btf = elf.image[found.offset : found.offset + found.size]
    arch = _ARCHES.get(elf.machine, f"e_machine {elf.machine}")
    return Anatomy(arch, btf, text, *_banner(text))


def _flat(image: Image, path: str) -> Anatomy:
    whole = Window(image, 0, len(image))
    magic = struct.pack("<HBB", BTF_MAGIC, 1, 0)
    at = whole.find(magic)
    while at >= 0:
        header = image[at : at + _BTF_HEADER.size]
        if len(header) == _BTF_HEADER.size:
            _, _, _, size, types, types_size, strings, strings_size = _BTF_HEADER.unpack(header)
            fits = size in (24, 32) and types == 0 and types_size > _LEAST_BTF and strings >= types_size
            if fits and at + size + strings + strings_size <= len(image):
                btf = image[at : at + size + strings + strings_size]
                return Anatomy("aarch64", btf, whole, *_banner(whole))
        at = whole.find(magic, at + 1)
    raise KernelFileError(
        path,
        "it is a kernel image without BTF",
        hint="a kernel has BTF when built with CONFIG_DEBUG_INFO_BTF=y",
    )


def _banner(text: Window | None) -> tuple[str, str]:
    found = _BANNER.search(text.image, text.start, text.end) if text else None
    if found is None:
        return "", ""
    return found[1].decode("ascii", "replace"), (found[2] or b"").decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    offset: int
    size: int


class _Elf:
    """The section headers of an ELF file of any class and byte order (System V ABI, chapter 4)."""

    def __init__(self, image: Image, path: str) -> None:
        self.image, self._path = image, path
        head = image[:64]
        if len(head) < 64:
            self._fail(0, f"an ELF header cut off after {len(head)} bytes")
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        self.kind, self.machine = struct.unpack_from(order + "HH", head, 16)
        if wide:
            self._table = struct.unpack_from(order + "Q", head, 40)[0]
            self._entry, self._count, self._names = struct.unpack_from(order + "HHH", head, 58)
            self._form = struct.Struct(order + "IIQQQQI")
        else:
            self._table = struct.unpack_from(order + "I", head, 32)[0]
            self._entry, self._count, self._names = struct.unpack_from(order + "HHH", head, 46)
            self._form = struct.Struct(order + "IIIIIII")
        self.sections = tuple(self._read())

    def _fail(self, offset: int, problem: str) -> NoReturn:
        raise KernelFileError(
            self._path,
            problem,
            place=f"offset {offset:#x}",
            hint="the file is cut off or damaged: copy it again",
        )

    def _read(self) -> Iterator[_Section]:
        if self._count == 0:
            return
        if self._entry < self._form.size or self._table + self._entry * self._count > len(self.image):
            self._fail(self._table, f"{self._count} section headers lie outside the file")
        rows = [self._row(place) for place in range(self._count)]
        if self._names >= len(rows):
            self._fail(0, f"section {self._names} for names does not exist")
        _, _, strings, strings_size = rows[self._names]
        names = self.image[strings : strings + min(strings_size, 1 << 20)]
        for name_offset, kind, offset, size in rows:
            text = names[name_offset : name_offset + _LONGEST_NAME]
            name = text.partition(b"\0")[0].decode("utf-8", "replace")
            if kind == _SHT_NOBITS:
                size = 0
            if name in (".BTF", ".rodata") and offset + size > len(self.image):
                self._fail(offset, f"section {name} of {size} bytes goes past the end of the file")
            yield _Section(name, offset, size)

    def _row(self, place: int) -> tuple[int, int, int, int]:
        name, kind, _, _, offset, size, _ = self._form.unpack_from(
            self.image, self._table + self._entry * place
        )
        return name, kind, offset, size

    def find(self, name: str) -> _Section | None:
        """The section of that name."""
        return next((section for section in self.sections if section.name == name), None)
