# SPDX-License-Identifier: Apache-2.0
"""Every error that Holdfast raises on purpose.

::

    HoldfastError
    ├── UsageError                 the caller asked for something that makes no sense
    ├── FileError                  a file is not what it should be: path, place, problem
    │   ├── ObjectFileError        a BPF object (ELF)
    │   ├── BtfError               BTF, wherever it was found
    │   ├── ManifestError          holdfast.toml
    │   └── KernelFileError        a kernel image, BTF file or facts file
    ├── InterfaceMismatchError     variants of a bundle disagree about their interface
    ├── KernelAccessError          the running kernel does not answer (no /sys, no BTF ...)
    ├── PrivilegeError             a capability, sysctl or lockdown forbids it
    ├── LibbpfError                libbpf is missing, too old, or failed outside a load
    └── LoadError                  libbpf or the kernel refused an object
        └── VerifierError          ... and it was the verifier

The message is one line that names what is wrong and where; ``hint`` says what to do about it.
"""

from __future__ import annotations

__all__ = [
    "BtfError",
    "FileError",
    "HoldfastError",
    "InterfaceMismatchError",
    "KernelAccessError",
    "KernelFileError",
    "LibbpfError",
    "LoadError",
    "ManifestError",
    "ObjectFileError",
    "PrivilegeError",
    "UsageError",
    "VerifierError",
]

# C0, DEL and C1 (ECMA-48): what moves a terminal's cursor, changes its title or begins another line.
_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))}


def one_line(text: str) -> str:
    """Return the text with control characters as ``\\x1b``, line feeds and tabs too.

    Names come out of objects and kernels of anybody, and may not do to a terminal what only we may.
    """
    return text.translate(_CONTROLS)


class HoldfastError(Exception):
    """Base of all errors that Holdfast raises on purpose.

    ``exit_status`` is the command line's exit status for it (1 error, 2 usage).
    """

    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = one_line(message)
        super().__init__(self.message)
        self.hint = hint


class UsageError(HoldfastError):
    """The caller named something that does not exist or combined what cannot be combined."""

    exit_status = 2


class FileError(HoldfastError):
    """A file is damaged or not of the expected kind.

    ``place`` is an offset in bytes (``offset 0x40``), a section, or a line, as precise as is known.
    """

    def __init__(self, path: str, problem: str, *, place: str | None = None, hint: str | None = None) -> None:
        where = f"{path}: {place}" if place else path
        super().__init__(f"{where}: {problem}", hint=hint)
        self.path = path
        self.place = place
        self.problem = problem


class ObjectFileError(FileError):
    """A BPF object cannot be read."""


class BtfError(FileError):
    """BTF or .BTF.ext data cannot be read."""


class ManifestError(FileError):
    """A bundle's holdfast.toml cannot be read or says something impossible."""


class KernelFileError(FileError):
    """A file given as a kernel is not one, or lacks what is needed (BTF)."""


class InterfaceMismatchError(HoldfastError):
    """Variants of one bundle do not export the same programs and maps."""


class KernelAccessError(HoldfastError):
    """The running kernel does not show what was asked for."""


class PrivilegeError(HoldfastError):
    """This process may not do that: a capability is missing, or a sysctl or lockdown forbids it."""


class LibbpfError(HoldfastError):
    """libbpf was not found, is too old, or failed at something that is no load."""


class LoadError(HoldfastError):
    """libbpf or the kernel refused an object or a program.

    ``errno`` is positive; ``log`` holds everything that libbpf and the kernel printed (may be long).
    """

    def __init__(self, message: str, *, errno: int = 0, log: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno = errno
        self.log = log


class VerifierError(LoadError):
    """The kernel's verifier rejected a program; ``log`` is its own log."""
