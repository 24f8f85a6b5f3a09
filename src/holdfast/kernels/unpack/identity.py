# SPDX-License-Identifier: Apache-2.0
"""Is this a kernel, for which machine, and which release?"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from holdfast.errors import KernelFileError

__all__ = ["Identity", "identify"]

_ET_REL: Final = 1
_ET_EXEC: Final = 2
_ET_DYN: Final = 3
_EM_BPF: Final = 247
_SHT_NOBITS: Final = 8
# Names as `uname -m` says them; include/uapi/linux/elf-em.h.
_ARCHES: Final[Mapping[tuple[int, bool], str]] = {
    (3, False): "i686",
    (20, False): "ppc",
    (21, True): "ppc64",
    (22, True): "s390x",
    (40, False): "armv7l",
    (62, True): "x86_64",
    (183, True): "aarch64",
    (243, True): "riscv64",
    (258, True): "loongarch64",
}
# Machine of a PE header; include/linux/pe.h.
_PE_ARCHES: Final[Mapping[int, str]] = {0xAA64: "aarch64", 0x5064: "riscv64", 0x6264: "loongarch64"}
# init/version.c: linux_banner. A name in parentheses follows; format strings and documentation have none.
_BANNER: Final = re.compile(rb"Linux version (\d[\w.+~:-]{0,100}) \(")
_HINT: Final = "name a vmlinuz, vmlinux or kernel package"


@dataclass(frozen=True, slots=True)
class Identity:
    """``release`` as `uname -r` says it, ``arch`` as `uname -m` does."""

    release: str
    arch: str


def identify(kernel: bytes, path: str, *, place: str | None = None) -> Identity:
    """What an uncompressed kernel says of itself: an ELF file, or the flat image of arm64, riscv, loongarch.

    Raises :exc:`KernelFileError` for anything else (a BPF object, a module, a program, raw BTF), and where
    the tables of an ELF file lie outside of it.
    """
    if kernel[:4] == b"\x7fELF":
        arch = _elf(kernel, path, place)
    else:
        arch = _flat(kernel, path, place)
    banner = _BANNER.search(kernel)
    if banner is None:
        raise KernelFileError(
            path,
            "it is no Linux kernel: no version is in it ('Linux version ...')",
            place=place,
            hint=_HINT,
        )
    return Identity(banner[1].decode("ascii", "replace"), arch)


def _flat(kernel: bytes, path: str, place: str | None) -> str:
    # Documentation/arch/arm64/booting.rst, riscv/boot-image-header.rst: a magic number at 56. Both, and
    # loongarch, are PE files, too, with the offset of the PE header at 60.
    head = kernel[:64]
    if head[56:60] == b"ARM\x64":
        return "aarch64"
    if head[56:60] == b"RSC\x05":
        return "riscv64"
    if head[:2] == b"MZ" and len(head) == 64:
        start = struct.unpack_from("<I", head, 60)[0]
        portable = kernel[start : start + 6]
        if portable[:4] == b"PE\0\0" and len(portable) == 6:
            machine = struct.unpack_from("<H", portable, 4)[0]
            if machine in _PE_ARCHES:
                return _PE_ARCHES[machine]
    if head[:2] in (b"\x9f\xeb", b"\xeb\x9f"):
        raise KernelFileError(path, "it is raw BTF, not a kernel", place=place, hint=_HINT)
    begins = f"it begins with {head[:4].hex(' ')}" if head else "it is empty"
    raise KernelFileError(path, f"it is no kernel: {begins}", place=place or "offset 0", hint=_HINT)


def _elf(kernel: bytes, path: str, place: str | None) -> str:
    """System V ABI, chapter 4 and 5; any class and byte order."""

    def fail(problem: str, hint: str = "the file is cut off or damaged: copy it again") -> NoReturn:
        raise KernelFileError(path, problem, place=place, hint=hint)

    wide, order = kernel[4:5] == b"\2", ">" if kernel[5:6] == b"\2" else "<"
    header = struct.Struct(order + "16xHHI" + ("QQQ" if wide else "III") + "IHHHHHH")
    if len(kernel) < header.size:
        fail(f"an ELF header cut off after {len(kernel)} bytes")
    fields = header.unpack_from(kernel)
    kind, machine, segments, sections = fields[0], fields[1], fields[4], fields[5]
    segment_size, segment_count, section_size, section_count = fields[8:12]
    if machine == _EM_BPF:
        fail("it is a BPF object, not a kernel", "name it as OBJECT, and a kernel with --kernel")
    if kind == _ET_REL:
        what = "a kernel module" if b".gnu.linkonce.this_module\0" in kernel else "an object file"
        fail(f"it is {what}, not a kernel", _HINT)
    if kind not in (_ET_EXEC, _ET_DYN):
        fail(f"an ELF file of type {kind} is no kernel", _HINT)
    for table, size, count, least, what in (
        (segments, segment_size, segment_count, 56 if wide else 32, "program"),
        (sections, section_size, section_count, 64 if wide else 40, "section"),
    ):
        if count and (size < least or table + size * count > len(kernel)):
            fail(f"{count} {what} headers at {table:#x} lie outside the file")
    for number in range(section_count):
        at = sections + number * section_size
        of_type = struct.unpack_from(order + "I", kernel, at + 4)[0]
        start, size = struct.unpack_from(order + ("QQ" if wide else "II"), kernel, at + (24 if wide else 16))
        if of_type not in (0, _SHT_NOBITS) and start + size > len(kernel):
            fail(f"section {number} of {size} bytes at {start:#x} goes past the end of the file")
    for number in range(segment_count):
        at = segments + number * segment_size
        start, size = (
            struct.unpack_from(order + "Q16xQ", kernel, at + 8)
            if wide
            else struct.unpack_from(order + "I8xI", kernel, at + 4)
        )
        if start + size > len(kernel):
            fail(f"segment {number} of {size} bytes at {start:#x} goes past the end of the file")
    arch = _ARCHES.get((machine, wide), f"e_machine {machine}")
    return arch + "le" if arch == "ppc64" and order == "<" else arch
