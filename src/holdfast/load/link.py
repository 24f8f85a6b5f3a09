# SPDX-License-Identifier: Apache-2.0
"""Links: a program in its place."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from holdfast import sys as kernel
from holdfast.errors import UsageError
from holdfast.load.pins import Pins, pin_all

if TYPE_CHECKING:
    from holdfast.load.session import Session

__all__ = ["Link"]


class Link:
    """An attached program or struct_ops map: detached by :meth:`close` or the end of a ``with``.

    The :class:`Object` that it came from closes it too, unless it was disowned.
    """

    __slots__ = ("_handle", "_session", "name")

    def __init__(self, session: Session, handle: int, name: str) -> None:
        self._session = session
        self._handle: int | None = handle
        self.name = name

    @property
    def closed(self) -> bool:
        return self._handle is None or self._session.closed

    @property
    def fd(self) -> int:
        """Returns the link's descriptor, which stays the link's. A kprobe on a kernel before 5.15 has a
        perf event's, a struct_ops map that is registered without a link its own.
        """
        return int(self._session.call("bpf_link__fd", self._open()))

    @property
    def id(self) -> int:
        """Returns the kernel's id of the link. Raises :class:`OSError` where the attachment is no BPF
        link.
        """
        return kernel.link_info(self.fd).id

    def pin(self, path: str | os.PathLike[str]) -> Pins:
        """Pins the link, so that it stays attached when this process ends. Raises as :func:`pin_all`."""
        target = Path(path)
        return pin_all(target.parent, {target.name: self.fd})

    def close(self) -> None:
        """Detaches; a pinned link stays attached. Closing twice is no error."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._session.destroy_link(handle)

    def disown(self) -> kernel.OwnedFd:
        """Returns the descriptor for the caller to own; the attachment lasts as long as it is open.

        Of a struct_ops map in ``.struct_ops`` (not ``.struct_ops.link``) it is the map's: that stays
        registered, whoever closes what, until its element 0 is deleted (bpf_struct_ops_map_delete_elem()).
        """
        handle = self._open()
        fd = int(self._session.call("bpf_link__fd", handle))
        # Without a link of the kernel's libbpf lends the map's descriptor, which the object closes
        # (bpf_map__attach_struct_ops()).
        owned = kernel.OwnedFd.duplicate(fd) if fd in self._session.map_fds() else None
        # Disconnected, destroying frees the memory alone and leaves descriptor and attachment be.
        self._session.call("bpf_link__disconnect", handle)
        self.close()
        return owned or kernel.OwnedFd(fd)

    def _open(self) -> int:
        if self._handle is None or self._session.closed:
            raise UsageError(f"the link of {self.name!r} is closed")
        return self._handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Link {self.name!r}{' closed' if self.closed else ''}>"
