# SPDX-License-Identifier: Apache-2.0
"""What is taken out of a kernel's files, and what is kept of it: the two values between unpacking, reading
and the catalogue.

A package or an image becomes :class:`KernelPieces` (bytes as the kernel build made them); what they tell
becomes a :class:`KernelRecord`, which the catalogue stores and :class:`~holdfast.kernels.facts.KernelFacts`
are made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.kernels.kfuncs import Registration
from holdfast.kernels.probed import ProbeFacts

__all__ = ["KernelPieces", "KernelRecord", "ModulePiece", "PackageOrigin"]


class ModulePiece(Protocol):
    """One module as the package has it; its bytes are unpacked when asked for."""

    @property
    def name(self) -> str:
        """As the kernel says it: ``nf_conntrack``, with ``_`` for ``-``."""

    @property
    def path(self) -> str:
        """Inside the package: ``kernel/net/netfilter/nf_conntrack.ko.xz``."""

    def read(self) -> bytes:
        """The ELF file of the module, decompressed. Raises :exc:`~holdfast.errors.KernelFileError`."""


@dataclass(frozen=True, slots=True)
class PackageOrigin:
    """Which package a kernel came from; empty strings where that is not known.

    ``distribution`` is ``debian`` or the like, ``suite`` where it was fetched from, ``sha256`` of the
    package file (hex), ``source`` and ``source_version`` of the source package it was built from.
    """

    name: str
    version: str
    distribution: str = ""
    suite: str = ""
    sha256: str = ""
    source: str = ""
    source_version: str = ""


@dataclass(frozen=True, slots=True)
class KernelPieces:
    """The parts of one kernel build, out of a package or an image, before anybody has read them.

    ``origin`` is the file that the user named, for messages. ``vmlinux`` is the uncompressed kernel: an ELF
    file, or on arm64 the flat ``Image``. ``config`` is the text of the build's configuration, None where it
    did not come along. ``modules`` are those that came along, ``builtin_modules`` the names out of
    modules.builtin; ``package`` is None for a bare image.
    """

    origin: str
    release: str
    arch: str
    vmlinux: bytes = field(repr=False)
    config: str | None = field(default=None, repr=False)
    modules: Sequence[ModulePiece] = field(default=(), repr=False)
    builtin_modules: tuple[str, ...] = field(default=(), repr=False)
    package: PackageOrigin | None = None


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """All that is kept of one kernel build. Text and numbers only, so that it is equal when read again.

    ``vmlinux`` is the raw BTF of vmlinux, byte for byte; ``modules`` the raw split BTF of the modules that
    are kept: those that register kfuncs or struct_ops or that a contract names; ``module_names`` all modules
    of the build, kept or not. ``symbols`` is what :func:`holdfast.kernels.kallsyms.names` gives, None where
    the image has no such tables. ``registrations`` are the kfuncs of .BTF_ids and init code, of vmlinux and
    of all modules, None where they could not be read.
    """

    id: str
    release: str
    arch: str
    source: str
    upstream: str
    vmlinux: bytes = field(repr=False)
    modules: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    module_names: tuple[str, ...] = field(default=(), repr=False)
    builtin_modules: tuple[str, ...] = field(default=(), repr=False)
    config: Mapping[str, str] | None = field(default=None, repr=False)
    symbols: str | None = field(default=None, repr=False)
    registrations: Mapping[str, Registration] | None = field(default=None, repr=False)
    probes: ProbeFacts | None = field(default=None, repr=False)
    package: PackageOrigin | None = None

    def all_btfs(self) -> Iterator[tuple[str | None, bytes]]:
        """vmlinux (None), then each kept module."""
        yield None, self.vmlinux
        yield from self.modules.items()
