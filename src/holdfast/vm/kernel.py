# SPDX-License-Identifier: Apache-2.0
"""A kernel to boot: the files of one build, unmodified."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from holdfast.errors import KernelFileError
from holdfast.kernels.record import KernelPieces, ModulePiece

__all__ = ["BootKernel", "enters_by_pvh"]

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_PT_NOTE = 4
_PHYS32_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY of include/xen/interface/elfnote.h


@dataclass(frozen=True, slots=True)
class BootKernel:
    """What a boot needs of a build, x86-64.

    ``vmlinux`` is the uncompressed ELF file (a path, or its bytes), ``image`` the bzImage; one of the two is
    enough. With the first the guest skips unpacking itself, 0.3 to 2 s, where the kernel has CONFIG_PVH.
    ``config`` is the text of the build's configuration: libbpf reads it for externs of kind ``kconfig``.
    ``modules`` are those that can be inserted.
    """

    release: str
    vmlinux: Path | bytes | None = field(default=None, repr=False)
    image: Path | bytes | None = field(default=None, repr=False)
    config: str | None = field(default=None, repr=False)
    modules: Sequence[ModulePiece] = field(default=(), repr=False)

    @classmethod
    def from_path(cls, path: str | Path, *, parts: Sequence[str | Path] = ()) -> BootKernel:
        """Return the kernel in a package, image or folder, as :func:`holdfast.kernels.unpack.open_kernel`
        takes them. Raises :class:`~holdfast.errors.KernelFileError`.
        """
        from holdfast.kernels.unpack import boot_image, open_kernel

        kernel = cls.from_pieces(open_kernel(path, parts=parts))
        if kernel.vmlinux is not None and not enters_by_pvh(kernel.vmlinux):
            return replace(kernel, image=boot_image(path, parts=parts).image)
        return kernel

    @classmethod
    def from_pieces(cls, pieces: KernelPieces) -> BootKernel:
        """Return the kernel of an unpacked package. Raises :class:`~holdfast.errors.KernelFileError`."""
        if pieces.arch != "x86_64":
            raise KernelFileError(
                pieces.origin, f"is a kernel for {pieces.arch}", hint="only x86_64 kernels can be booted"
            )
        return cls(pieces.release, pieces.vmlinux, None, pieces.config, pieces.modules)

    def boot_file(self) -> Path | bytes:
        """Return what qemu is given as ``-kernel``. Raises :class:`~holdfast.errors.KernelFileError`."""
        if self.vmlinux is not None and (self.image is None or enters_by_pvh(self.vmlinux)):
            if self.image is None and not enters_by_pvh(self.vmlinux):
                raise KernelFileError(
                    self.release,
                    "the kernel has no PVH entry (CONFIG_PVH)",
                    hint="give the vmlinuz that it was unpacked from",
                )
            return self.vmlinux
        if self.image is None:
            raise KernelFileError(self.release, "there is neither a vmlinux nor a vmlinuz to boot")
        return self.image


def enters_by_pvh(vmlinux: Path | bytes) -> bool:
    """Return whether qemu can start this ELF file: it has the Xen note PHYS32_ENTRY (CONFIG_PVH).

    docs of xen: misc/pvh.pandoc; qemu: hw/i386/x86-common.c, read_pvh_start_addr().
    """
    try:
        if isinstance(vmlinux, bytes):
            return any(_has_entry(one) for one in _note_segments(vmlinux))
        fd = os.open(vmlinux, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = os.pread(fd, 1 << 16, 0)
            return any(_has_entry(os.pread(fd, size, offset)) for offset, size in _notes(head))
        finally:
            os.close(fd)
    except (OSError, OverflowError, struct.error):
        return False


def _note_segments(data: bytes) -> list[bytes]:
    return [data[offset : offset + size] for offset, size in _notes(data)]


def _notes(head: bytes) -> list[tuple[int, int]]:
    """Return (offset, size) in bytes of the note segments."""
    if head[:6] != b"\x7fELF\x02\x01":
        return []
    header = _EHDR.unpack_from(head)
    rows = [_PHDR.unpack_from(head, header[5] + number * header[9]) for number in range(header[10])]
    return [(row[2], min(row[5], 1 << 20)) for row in rows if row[0] == _PT_NOTE]


def _has_entry(notes: bytes) -> bool:
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, at)
        at += _NOTE.size
        if kind == _PHYS32_ENTRY and notes[at : at + 4] == b"Xen\0":
            return True
        at += (name_size + 3 & ~3) + (size + 3 & ~3)
    return False
