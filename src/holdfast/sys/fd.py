# SPDX-License-Identifier: Apache-2.0
"""A file descriptor with one owner."""

from __future__ import annotations

import fcntl
import os
from types import TracebackType
from typing import Self

__all__ = ["OwnedFd"]


class OwnedFd:
    """Owns one descriptor: closed by :meth:`close`, at the end of a ``with``, or when collected.

    The descriptor is never 0, 1 or 2: several fields of ``union bpf_attr`` take 0 to mean none, and
    a BPF object must not become somebody's standard output.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """Takes over ``fd``; a low number is moved up (raises :class:`OSError`, ``fd`` is then closed)."""
        self._fd = -1
        if fd < 0:
            raise ValueError(f"not a descriptor: {fd}")
        if fd <= 2:
            try:
                self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
            finally:
                os.close(fd)
        else:
            self._fd = fd

    @classmethod
    def duplicate(cls, fd: int) -> Self:
        """Returns an owned, close-on-exec copy of ``fd``, which stays the caller's."""
        return cls(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def fileno(self) -> int:
        """Returns the number; raises :class:`ValueError` once closed or disowned."""
        if self._fd < 0:
            raise ValueError("the descriptor is closed")
        return self._fd

    def close(self) -> None:
        """Closes the descriptor; closing twice is no error."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def disown(self) -> int:
        """Returns the descriptor, which is the caller's to close from now on."""
        fd = self.fileno()
        self._fd = -1
        return fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # An interpreter that shuts down may have taken os apart already.
        try:
            self.close()
        except (AttributeError, OSError, TypeError):
            pass

    def __repr__(self) -> str:
        return f"OwnedFd({self._fd})" if self._fd >= 0 else "OwnedFd(closed)"
