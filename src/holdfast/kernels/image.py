# SPDX-License-Identifier: Apache-2.0
"""Facts of a kernel that is only a file: vmlinux (ELF with ``.BTF``) or raw BTF.

The file is mapped, not read: of a vmlinux with debug information, which can have a gigabyte, only section
headers, ``.BTF`` and ``.rodata`` are looked at.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from holdfast.btf import Btf
from holdfast.btf.reader import BTF_MAGIC
from holdfast.errors import BtfError, KernelFileError
from holdfast.kernels import kconfig
from holdfast.kernels.cache import Cache, digest
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.kallsyms import ImageSymbols
from holdfast.kernels.upstream import upstream_version

__all__ = ["from_path"]

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
_COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x89LZO", "lzo"),
)
_PACKAGES: Final = ((b"!<arch>\ndebian-binary", "Debian package"), (b"\xed\xab\xee\xdb", "RPM package"))
# linux_banner: release, builder, compiler, and what uname -v says.
_BANNER: Final = re.compile(rb"Linux version (\d[\w.+~:-]{0,100}) (?:[^\n\0]{0,400}? (#\d[^\n\0]{0,100}))?")
_EXTRACT: Final = "unpack it first: scripts/extract-vmlinux of the kernel source writes the vmlinux inside"


def from_path(path: str | Path, *, cache: Cache | None = None) -> KernelFacts:
    """What a kernel file tells, id ``file/<release>`` or, for raw BTF, ``file/<file name>``.

    No host policy, modules or probes come with it; the config does when the image embeds one
    (CONFIG_IKCONFIG). An index over its BTF is kept in ``cache``, if given. Raises
    :exc:`~holdfast.errors.KernelFileError` for a file that is no kernel, is cut off, or has no BTF.
    """
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            # private: files under /sys/kernel/btf cannot be mapped shared
            image = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            return _read(image, where, cache or Cache(None))
    except IsADirectoryError:
        problem, hint = "it is a folder", "name the kernel's file: a vmlinux or raw BTF"
    except ValueError:
        problem, hint = "it is empty", "name a vmlinux or a file with raw BTF"
    except OSError as error:
        problem, hint = f"it cannot be read: {error.strerror}", ""
    except BtfError as error:
        raise KernelFileError(
            where, error.problem, place=error.place, hint="the BTF in this file is damaged"
        ) from error
    raise KernelFileError(where, problem, hint=hint or None)


def _read(image: mmap.mmap, path: str, cache: Cache) -> KernelFacts:
    with image:
        if image[:4] == b"\x7fELF":
            return _read_vmlinux(_Elf(image, path), path, cache)
        if image[:2] in (BTF_MAGIC.to_bytes(2, "little"), BTF_MAGIC.to_bytes(2, "big")):
            return _read_raw(image, path, cache)
        raise _refusal(image, path)


def _refusal(image: mmap.mmap, path: str) -> KernelFileError:
    head = image[:64]
    # Documentation/arch/x86/boot.rst: "HdrS" at 0x202; arm64/booting.rst: "ARM\x64" at 56.
    if image[0x202:0x206] == b"HdrS" or head[56:60] in (b"ARM\x64", b"RSC\x05"):
        return KernelFileError(
            path, "it is a bootable kernel image; these come with the catalogue", hint=_EXTRACT
        )
    for magic, name in _COMPRESSED:
        if head.startswith(magic):
            hint = f"it is {name}: decompress it first; a compressed kernel image, too"
            return KernelFileError(path, "it is compressed; such files come with the catalogue", hint=hint)
    for magic, name in _PACKAGES:
        if head.startswith(magic):
            return KernelFileError(
                path, f"it is a {name}; packages come with the catalogue", hint="take the vmlinux out of it"
            )
    return KernelFileError(
        path,
        f"it is no kernel: it begins with {head[:4].hex(' ')}",
        place="offset 0",
        hint="name a vmlinux (ELF with .BTF) or a file with raw BTF, as /sys/kernel/btf/vmlinux",
    )


def _read_raw(image: mmap.mmap, path: str, cache: Cache) -> KernelFacts:
    try:
        btf = _btf(image[:], path, cache)
    except BtfError as error:
        if "NUL" in error.problem:
            # Split BTF goes on where its base's strings end, so it does not begin with the empty string.
            raise KernelFileError(
                path,
                error.problem,
                place=error.place,
                hint="BTF of a module is no kernel's: name the vmlinux it belongs to",
            ) from error
        raise
    return KernelFacts(id=f"file/{Path(path).name}", release="", arch="", source="file", vmlinux=btf)


def _read_vmlinux(elf: _Elf, path: str, cache: Cache) -> KernelFacts:
    names = {section.name for section in elf.sections}
    if elf.machine == _EM_BPF:
        raise KernelFileError(
            path, "it is a BPF object, not a kernel", hint="name it as OBJECT, and a kernel with --kernel"
        )
    if elf.kind == _ET_REL and ".gnu.linkonce.this_module" in names:
        raise KernelFileError(
            path,
            "it is a kernel module",
            hint="name the vmlinux of its kernel; modules come with the catalogue",
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
    btf = _btf(elf.image[found.offset : found.offset + found.size], f"{path}: .BTF", cache)
    rodata = elf.find(".rodata")
    text = _Window(elf.image, rodata.offset, rodata.offset + rodata.size) if rodata else None
    banner = _BANNER.search(elf.image, text.start, text.end) if text else None
    release = banner[1].decode("ascii", "replace") if banner else ""
    uname_version = banner[2].decode("ascii", "replace") if banner and banner[2] else ""
    config = kconfig.embedded(text) if text else None
    return KernelFacts(
        id=f"file/{release or Path(path).name}",
        release=release,
        arch=_ARCHES.get(elf.machine, f"e_machine {elf.machine}"),
        source="file",
        vmlinux=btf,
        config=config,
        upstream=upstream_version(uname_version, (config or {}).get("CONFIG_VERSION_SIGNATURE", "")),
        kallsyms=ImageSymbols(text[:]) if text else None,
    )


def _btf(data: bytes, origin: str, cache: Cache) -> Btf:
    depends = digest("file", os.uname().machine, data) if cache.path else ""
    return cache.btf(data, depends, origin=origin)


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of an image that is searched in place."""

    image: mmap.mmap
    start: int
    end: int

    def find(self, what: bytes, start: int = 0, /) -> int:
        found = self.image.find(what, self.start + start, self.end)
        return found - self.start if found >= 0 else -1

    def __getitem__(self, where: slice, /) -> bytes:
        first, last, _ = where.indices(self.end - self.start)
        return self.image[self.start + first : self.start + last]


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    offset: int
    size: int


class _Elf:
    """The section headers of an ELF file of any class and byte order (System V ABI, chapter 4)."""

    def __init__(self, image: mmap.mmap, path: str) -> None:
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
            end = names.find(b"\0", name_offset)
            name = names[name_offset : end if end >= 0 else None].decode("utf-8", "replace")
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
