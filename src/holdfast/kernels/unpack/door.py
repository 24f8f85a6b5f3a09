# SPDX-License-Identifier: Apache-2.0
"""Any file or folder that a kernel comes in, to its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import KernelFileError
from holdfast.kernels.record import KernelPieces, PackageOrigin
from holdfast.kernels.unpack import limits, rpm, tarball, tree
from holdfast.kernels.unpack.debian import Companions, Deb, is_deb
from holdfast.kernels.unpack.gather import BootImage, Gathered
from holdfast.kernels.unpack.streams import FileStream

__all__ = ["boot_image", "open_kernel", "vmlinux_of"]


def open_kernel(path: str | Path, *, parts: Sequence[str | Path] = (), partial: bool = False) -> KernelPieces:
    """The parts of the kernel in ``path``.

    ``path`` is a vmlinuz (bzImage, EFI zboot), an arm64 ``Image``, a vmlinux, each alone or compressed by
    gzip, xz, zstd, lz4, lzo, bzip2 or lzma; a Debian, Ubuntu, RPM or Arch package; a tar archive of a root; a
    folder (a root, or lib/modules/RELEASE).

    ``parts`` names the other packages where a build is split; packages of the same build that lie in the same
    folder as ``path`` are found without. ``partial`` takes a kernel also when some of its packages (modules,
    config) are not there; else that is an error that names them.

    Nothing is written. A package is read once, from front to back, and its modules stay compressed in memory;
    of a folder they stay where they are. Sizes are bounded by :mod:`holdfast.kernels.unpack.limits`.

    Raises :exc:`~holdfast.errors.KernelFileError` with the file, the place in it, and what to do: no kernel
    in it, damaged, cut off, hostile (names that lead out of an archive, decompression bombs), kernel and
    modules of different releases, parts missing.
    """
    gathered, package = _gather(Path(path), [Path(part) for part in parts], partial, only_kernel=False)
    return gathered.pieces(package)


def boot_image(path: str | Path, *, parts: Sequence[str | Path] = ()) -> BootImage:
    """The kernel alone, as shipped and uncompressed, for a machine that is to boot it.

    Takes what :func:`open_kernel` takes and raises the same; reads no further than the kernel, and misses no
    package but the one with the kernel.
    """
    gathered, _ = _gather(Path(path), [Path(part) for part in parts], True, only_kernel=True)
    return gathered.boot_image()


def vmlinux_of(path: str | Path, *, parts: Sequence[str | Path] = ()) -> bytes:
    """The uncompressed kernel alone: on x86 an ELF file that can be entered by PVH. As :func:`boot_image`."""
    return boot_image(path, parts=parts).vmlinux


def _gather(
    path: Path, parts: list[Path], partial: bool, *, only_kernel: bool
) -> tuple[Gathered, PackageOrigin | None]:
    if path.is_dir():
        _no_parts(path, parts)
        return tree.gather(path, only_kernel=only_kernel), None
    stream = FileStream(path)
    try:
        head = stream.read(512)
    finally:
        stream.close()
    gathered = Gathered(str(path), only_kernel=only_kernel)
    if is_deb(head):
        companions = Companions(path, parts)
        debs = companions.add_to(gathered, Deb.read(path, gathered), partial=partial)
        # the package that the kernel itself was in: its version and source are the build's
        named = next((deb for deb in debs if str(deb.path) == gathered.kernel_origin), debs[0])
        return gathered, named.control.origin(named.sha256)
    if rpm.is_rpm(head):
        packages = [rpm.read(each, gathered) for each in (path, *parts)]
        return gathered, packages[0]
    _no_parts(path, parts)
    if tarball.is_tarball(path):
        return gathered, tarball.read(path, gathered)
    stream = FileStream(path)
    try:
        if stream.size > limits.FILE:
            raise KernelFileError(
                str(path),
                f"it has {stream.size} bytes, {limits.FILE >> 20} MiB are the limit",
                hint="name a vmlinuz, or a vmlinux without debug information",
            )
        gathered.kernel = stream.read(stream.size)
    finally:
        stream.close()
    gathered.kernel_origin = str(path)
    return gathered, None


def _no_parts(path: Path, parts: list[Path]) -> None:
    if parts:
        raise KernelFileError(
            str(path),
            f"it is no package, so {parts[0]} cannot be another part of it",
            hint="name packages of one build together, anything else alone",
        )
