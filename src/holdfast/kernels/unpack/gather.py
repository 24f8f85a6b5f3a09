# SPDX-License-Identifier: Apache-2.0
"""The parts of one kernel, collected out of one or more archives or folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.errors import KernelFileError
from holdfast.kernels.record import KernelPieces, ModulePiece, PackageOrigin
from holdfast.kernels.unpack import limits
from holdfast.kernels.unpack.identity import Identity, identify
from holdfast.kernels.unpack.image import peel
from holdfast.kernels.unpack.layout import Part, place_of
from holdfast.kernels.unpack.members import Member, shown
from holdfast.kernels.unpack.modules import builtin_names, keep, unique

__all__ = ["BootImage", "Gathered"]


@dataclass(frozen=True, slots=True)
class BootImage:
    """A kernel to boot: ``image`` as the distribution ships it, ``vmlinux`` what is inside (ELF on x86)."""

    release: str
    arch: str
    image: bytes = field(repr=False)
    vmlinux: bytes = field(repr=False)


class Gathered:
    """What was found so far. ``path`` is the file that the user named; ``only_kernel`` leaves all else out.

    Takes the parts of one release; :exc:`KernelFileError` for a second one, for a file that comes twice, and
    for more than the limits allow.
    """

    def __init__(self, path: str, *, only_kernel: bool = False) -> None:
        self.path, self.only_kernel = path, only_kernel
        self.release = ""
        self.kernel: bytes | None = None
        self.kernel_place = ""
        self.kernel_origin = ""
        self.config: str | None = None
        self.builtin: tuple[str, ...] = ()
        self.modules: list[ModulePiece] = []
        self._seen: dict[tuple[str, str], str] = {}
        self._count = 0
        self._kept = 0

    @property
    def complete(self) -> bool:
        """Whether there is one of everything that distributions' kernels come with."""
        return bool(self.kernel is not None and self.config is not None and self.modules and self.builtin)

    def take_all(self, members: Iterable[Member], origin: str) -> None:
        """Look at each member of an archive; stops early once there is all that is wanted."""
        for member in members:
            part = place_of(member.name) if member.regular else None
            if part is not None:
                self._take(part, member, origin)
                if self.only_kernel and self.kernel is not None:
                    return

    def _take(self, part: Part, member: Member, origin: str) -> None:
        place = shown(member.name)
        self.admit(part, place, origin)
        match part.kind:
            case "kernel":
                if self.kernel is None:  # vmlinuz and vmlinux of one build: the first does
                    self.kernel = member.read(limits.IMAGE)
                    self.kernel_place, self.kernel_origin = place, origin
            case _ if self.only_kernel:
                pass
            case "config":
                if self.config is None:
                    self.config = member.read(limits.CONFIG).decode("utf-8", "replace")
            case "builtin":
                self.builtin = builtin_names(member.read(limits.CONFIG))
            case "module":
                self.keep_module(part.inner, member.read(limits.MODULE), origin)

    def admit(self, part: Part, place: str, origin: str) -> None:
        """Hold a part's release and name against what was there before."""
        if self.release and part.release != self.release:
            raise KernelFileError(
                origin,
                f"{place} belongs to {part.release}, other files to {self.release}",
                hint="name the files of one kernel: a lib/modules/RELEASE folder, or one build's packages",
            )
        self.release = part.release
        before = self._seen.setdefault((part.kind, part.inner), origin)
        count = len(self._seen)
        if count == self._count:
            also = "more than once" if before == origin else f"and {before} has it, too"
            raise KernelFileError(
                origin, f"it has {place} {also}", hint="name each package of one build once"
            )
        self._count = count
        if count > limits.MODULES:
            raise KernelFileError(origin, f"it has more than {limits.MODULES} modules", hint="no kernel has")

    def keep_module(self, inner: str, data: bytes, origin: str) -> None:
        """A module's bytes."""
        module = keep(inner, data, origin)
        self._kept += len(module.data)
        if self._kept > limits.KEPT:
            raise KernelFileError(
                origin,
                f"its modules have more than {limits.KEPT >> 20} MiB, compressed",
                hint="packages with debug information are not needed here: name those that are installed",
            )
        self.modules.append(module)

    def _identified(self) -> tuple[bytes, Identity]:
        if self.kernel is None:
            raise KernelFileError(
                self.path,
                "there is no kernel in it (boot/vmlinuz-RELEASE or lib/modules/RELEASE/vmlinuz)",
                hint="name the package or folder with the kernel's image",
            )
        place = self.kernel_place or None
        vmlinux = peel(self.kernel, self.kernel_origin, place=place)
        identity = identify(vmlinux, self.kernel_origin, place=place)
        if self.release and identity.release != self.release:
            raise KernelFileError(
                self.kernel_origin,
                f"it says that it is {identity.release}, its name says {self.release}",
                place=place,
                hint="kernel and modules are of different builds: take both from one",
            )
        return vmlinux, identity

    def pieces(self, package: PackageOrigin | None = None) -> KernelPieces:
        """What was gathered. Raises :exc:`KernelFileError`: no kernel, or one of another release."""
        vmlinux, identity = self._identified()
        self.kernel = None  # compressed and not, both are in memory until here
        return KernelPieces(
            origin=self.path,
            release=identity.release,
            arch=identity.arch,
            vmlinux=vmlinux,
            config=self.config,
            modules=unique(self.modules),
            builtin_modules=self.builtin,
            package=package,
        )

    def boot_image(self) -> BootImage:
        """The same for somebody who wants to boot it."""
        vmlinux, identity = self._identified()
        return BootImage(identity.release, identity.arch, self.kernel or b"", vmlinux)
