# SPDX-License-Identifier: Apache-2.0
"""One opened libbpf."""

from __future__ import annotations

import ctypes
import errno
import functools
import re
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from holdfast.errors import LibbpfError
from holdfast.libbpf.discover import Candidate, Origin, find
from holdfast.libbpf.printing import Messages, Printer
from holdfast.libbpf.prototypes import PROTOTYPES, SHIM, Prototype

__all__ = ["Library", "bundled_version", "errno_text", "library"]

OLDEST = (1, 1)
_LIBBPF_ERRNO_START = 4000  # enum libbpf_errno
_BUILD_HINT = "`make setup` builds the newest one into the package, or install libbpf1 1.1 or newer"


class Library:
    """libbpf, its functions typed by :mod:`holdfast.libbpf.prototypes`.

    ``version`` is (major, minor); ``origin`` and ``path`` say which file it is. Opening it for good
    installs a print callback. Safe to call from several threads, as libbpf is; one object belongs to one
    thread at a time.
    """

    def __init__(self, candidate: Candidate) -> None:
        """Opens the library. Raises :class:`LibbpfError`: not there, not libbpf, or older than 1.1."""
        self.origin: Origin = candidate.origin
        self.path = candidate.name
        try:
            self._c = ctypes.CDLL(candidate.name, use_errno=True)
        except OSError as error:
            absent = candidate.origin is Origin.SYSTEM
            what = "the system has no libbpf.so.1" if absent else f"libbpf cannot be opened: {error}"
            raise LibbpfError(what, hint=_BUILD_HINT) from None
        if not hasattr(self._c, "libbpf_major_version"):  # 0.6 brought it
            raise LibbpfError(f"{candidate.name} is no libbpf, or one older than 0.6", hint=_BUILD_HINT)
        self.version: tuple[int, int] = (
            self._call("libbpf_major_version"),
            self._call("libbpf_minor_version"),
        )
        if self.version < OLDEST:
            raise LibbpfError(
                f"libbpf {self.version_text} ({candidate.name}) is too old: Holdfast needs 1.1 or newer",
                hint=_BUILD_HINT,
            )
        for name, prototype in SHIM.items():
            if hasattr(self._c, name):
                self._declare(name, prototype)
        self.printer = Printer(self._c)

    @property
    def version_text(self) -> str:
        """Returns ``1.7``."""
        return f"{self.version[0]}.{self.version[1]}"

    def __str__(self) -> str:
        return f"libbpf {self.version_text} ({self.origin})"

    def has(self, name: str) -> bool:
        """Returns whether this libbpf has a function of that name."""
        return hasattr(self._c, name)

    def require(self, release: tuple[int, int], what: str) -> None:
        """Raises :class:`LibbpfError` when this libbpf is older than ``release``, which brought ``what``."""
        if self.version < release:
            raise LibbpfError(
                f"{what} needs libbpf {release[0]}.{release[1]}; in use is {self.version_text} ({self.path})",
                hint=_BUILD_HINT,
            )

    def listening(self, messages: Messages) -> AbstractContextManager[None]:
        """Sends what libbpf says in this thread, for as long as the context lasts, to ``messages``."""
        return self.printer.to(messages)

    def call(self, name: str, *arguments: Any) -> Any:
        """Returns what the function returns. Raises :class:`LibbpfError` when this libbpf is too old to
        have it.
        """
        if not hasattr(self._c, name):
            self.require(PROTOTYPES[name].since, f"{name}()")
        return self._call(name, *arguments)

    def check(self, name: str, *arguments: Any) -> Any:
        """Like :meth:`call`, but raises :class:`OSError` on NULL or a negative result.

        The errno is positive, and may be one of libbpf's own (4000 and up); see :func:`errno_text`.
        """
        prototype = PROTOTYPES[name]
        ctypes.set_errno(0)
        result = self.call(name, *arguments)
        if prototype.result is ctypes.c_void_p:
            failed = not result
            number = ctypes.get_errno() or errno.EINVAL
        else:
            failed = result < 0
            number = -int(result) if failed else 0
        if failed:
            raise OSError(number, f"{name}: {self.strerror(number)}")
        return result

    def strerror(self, number: int) -> str:
        """Returns libbpf's words for a positive errno of the kernel's or its own."""
        block = ctypes.create_string_buffer(256)
        self._call("libbpf_strerror", number, block, len(block))
        return block.value.decode(errors="replace")

    def _call(self, name: str, *arguments: Any) -> Any:
        function = getattr(self._c, name)
        if function.argtypes is None:
            self._declare(name, PROTOTYPES[name])
        return function(*arguments)

    def _declare(self, name: str, prototype: Prototype) -> None:
        function = getattr(self._c, name)
        function.restype = prototype.result
        function.argtypes = prototype.arguments


def errno_text(number: int) -> str:
    """Returns ``EACCES`` and the like; libbpf's own numbers as ``LIBBPF_ERRNO 4003``."""
    if number >= _LIBBPF_ERRNO_START:
        return f"LIBBPF_ERRNO {number}"
    # ENOTSUPP is the kernel's own and has leaked to user space for years, so Python has no name for it.
    return "ENOTSUPP" if number == 524 else errno.errorcode.get(number, f"errno {number}")


_lock = threading.Lock()


@functools.cache
def _open(candidate: Candidate) -> Library:
    return Library(candidate)


def library() -> Library:
    """Returns the libbpf that loads here, opened once per process. Raises :class:`LibbpfError`."""
    with _lock:
        return _open(find())


def bundled_version(folder: Path) -> tuple[int, int] | None:
    """Returns the (major, minor) that a bundled build wrote down, without opening it; None when there is
    none.
    """
    try:
        found = re.search(r"^version: (\d+)\.(\d+)", (folder / "VERSION").read_text(), re.M)
    except OSError:
        return None
    return (int(found[1]), int(found[2])) if found else None
