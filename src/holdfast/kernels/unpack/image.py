# SPDX-License-Identifier: Apache-2.0
"""From a kernel as it is booted to the kernel itself: bzImage, EFI zboot, anything compressed.

What comes out is an ELF file (x86 and most others) or, for arm64 and riscv, the flat ``Image``.
"""

from __future__ import annotations

import struct
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack import limits
from holdfast.kernels.unpack.streams import compression, inflate

__all__ = ["peel"]

_DEPTH: Final = 4  # an Image.gz in a zboot image has two


def peel(data: bytes, path: str, *, place: str | None = None) -> bytes:
    """The uncompressed kernel inside ``data``, which may be one itself.

    ``path`` and ``place`` name the file and the member of it in messages. Raises :exc:`KernelFileError`: no
    kernel, damaged, cut off, larger than :data:`limits.VMLINUX`.
    """
    for _ in range(_DEPTH):
        if data[:4] == b"\x7fELF":
            return data
        if data[:2] == b"MZ" and data[4:8] == b"zimg":
            data = _zboot(data, path, place)
        elif data[0x202:0x206] == b"HdrS" and data[0x1FE:0x200] == b"\x55\xaa":
            data = _bzimage(data, path, place)
        elif kind := compression(data[:16]):
            data = inflate(data, kind, path, place=place, limit=limits.VMLINUX)
        else:
            return data
    raise KernelFileError(
        path, f"it is compressed more than {_DEPTH} times", place=place, hint="decompress it first"
    )


def _bzimage(data: bytes, path: str, place: str | None) -> bytes:
    """The payload of an x86 image.

    Documentation/arch/x86/boot.rst: ``setup_sects`` at 0x1f1 (0 means 4), ``version`` at 0x206,
    ``payload_offset`` and ``payload_length`` at 0x248 (protocol 2.08 and later, Linux 2.6.26), counted from
    the protected-mode code, which follows the boot sector and the setup sectors of 512 bytes.
    """
    version = int.from_bytes(data[0x206:0x208], "little")
    if version < 0x0208 or len(data) < 0x250:
        raise _damaged(
            path, place, 0x206, f"an x86 boot header of protocol {version >> 8}.{version & 255:02}"
        )
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    return _payload(data, start, length, path, place, sized=True)


def _zboot(data: bytes, path: str, place: str | None) -> bytes:
    """The payload of an image with CONFIG_EFI_ZBOOT (Linux 6.1 and later).

    drivers/firmware/efi/libstub/zboot-header.S: after ``MZ`` and ``zimg`` the payload's offset and size at 8
    and 12; the size is without the four bytes of the uncompressed size that follow it.
    """
    if len(data) < 64:
        raise _damaged(path, place, 0, "an EFI zboot header that is cut off")
    offset, length = struct.unpack_from("<II", data, 8)
    return _payload(data, offset, length, path, place, sized=False)


def _payload(data: bytes, start: int, length: int, path: str, place: str | None, *, sized: bool) -> bytes:
    """Decompressed; where ``sized``, its last four bytes are the size (size_append, scripts/Makefile.lib)."""
    if length < 8 or start + length > len(data):
        raise _damaged(
            path, place, start, f"a payload of {length} bytes is not within the {len(data)} of the image"
        )
    payload = data[start : start + length]
    where = f"{place + ', ' if place else ''}payload at {start:#x}"
    kind = compression(payload[:16])
    if kind is None:
        if payload[:4] == b"\x7fELF":
            return payload  # CONFIG_KERNEL_UNCOMPRESSED
        raise KernelFileError(
            path,
            f"compressed in a way that is not known here: it begins with {payload[:4].hex(' ')}",
            place=where,
            hint="decompress the kernel first: scripts/extract-vmlinux of the kernel source",
        )
    # of gzip the size is a part, ISIZE of RFC 1952; to all others it is appended
    extra = 4 if sized and kind != "gzip" else 0
    packed = payload[: len(payload) - extra]
    said = struct.unpack("<I", payload[-4:])[0] if sized else limits.VMLINUX
    kernel = inflate(packed, kind, path, place=where, limit=min(said, limits.VMLINUX), alone=True)
    if sized and said != len(kernel):
        raise KernelFileError(
            path,
            f"it unpacks to {len(kernel)} bytes and says {said}",
            place=where,
            hint="the image is damaged: fetch or copy it again",
        )
    return kernel


def _damaged(path: str, place: str | None, offset: int, problem: str) -> KernelFileError:
    where = f"{place + ', ' if place else ''}offset {offset:#x}"
    return KernelFileError(path, problem, place=where, hint="the image is cut off or damaged: copy it again")
