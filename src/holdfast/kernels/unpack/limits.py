# SPDX-License-Identifier: Apache-2.0
"""How much of what is unpacked. Whatever a file claims, no more than this is read, kept or counted.

The largest that were met in Debian's builds of 2020 to 2026: a kernel of 70 MiB (a gigabyte with debug
information), a module of 20 MiB (200 with debug information), a package of 7 GiB with debug information and
of 0.5 GiB without, 5,000 modules, a config of 0.3 MiB.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CONFIG",
    "CONTROL",
    "FILE",
    "IMAGE",
    "KEPT",
    "LZMA_MEMORY",
    "MEMBERS",
    "MODULE",
    "MODULES",
    "PACKAGE",
    "VMLINUX",
]

MIB: Final = 1 << 20

VMLINUX: Final = 512 * MIB  # bytes of a kernel that was compressed
FILE: Final = 2048 * MIB  # bytes of a file that is a kernel as it is, perhaps with debug information
IMAGE: Final = 512 * MIB  # bytes of a kernel as a package has it, compressed or not
MODULE: Final = 256 * MIB  # bytes of one module, decompressed
CONFIG: Final = 4 * MIB  # bytes of a config or of a modules.builtin
CONTROL: Final = 1 * MIB  # bytes of what a package says about itself
PACKAGE: Final = 4096 * MIB  # bytes that one package unpacks to, with all that is skipped
KEPT: Final = 1024 * MIB  # bytes of modules that are kept in memory, compressed
MEMBERS: Final = 200_000  # files and folders in one package
MODULES: Final = 50_000  # modules of one kernel
# The kernel's own xz dictionary has up to 128 MiB (scripts/Makefile.lib, 6.12 and later), dpkg's 64 MiB.
LZMA_MEMORY: Final = 192 * MIB
