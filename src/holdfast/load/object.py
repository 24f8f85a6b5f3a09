# SPDX-License-Identifier: Apache-2.0
"""An object in the kernel: its loaded programs and its maps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from holdfast.errors import UsageError
from holdfast.load.attach import attach_all
from holdfast.load.link import Link
from holdfast.load.map import Map
from holdfast.load.pins import Pins, pin_all
from holdfast.load.program import Program

if TYPE_CHECKING:
    from holdfast.load.session import Session

__all__ = ["Object"]

_T = TypeVar("_T")


class Object:
    """A loaded object. Closing it closes its links, programs and maps; what was pinned or duplicated stays.

    ``programs`` holds those that were loaded, ``maps`` those that exist; global variables are the maps
    ``.rodata``, ``.data``, ``.bss`` and ``.kconfig``, whatever the object is called.
    """

    def __init__(self, session: Session, programs: dict[str, Program], maps: dict[str, Map]) -> None:
        self._session = session
        self._pins: list[Pins] = []
        self.programs: Mapping[str, Program] = MappingProxyType(programs)
        self.maps: Mapping[str, Map] = MappingProxyType(maps)

    @property
    def name(self) -> str:
        return self._session.name

    @property
    def log(self) -> str:
        """Returns what libbpf said while opening and loading."""
        return self._session.messages.text

    @property
    def closed(self) -> bool:
        return self._session.closed

    def program(self, name: str) -> Program:
        """Returns a loaded program. Raises :class:`UsageError` that names those there are."""
        return _pick(self.programs, name, "loaded program", self.name)

    def map(self, name: str) -> Map:
        """Returns a map. Raises :class:`UsageError` that names those there are."""
        return _pick(self.maps, name, "map", self.name)

    def attach(self, programs: Sequence[str] | None = None) -> tuple[Link, ...]:
        """Attaches by section name; see :func:`attach_all`."""
        return attach_all(self, programs)

    def pin(
        self,
        folder: str | os.PathLike[str],
        *,
        programs: Iterable[str] | None = None,
        maps: Iterable[str] | None = None,
    ) -> Pins:
        """Pins programs and maps (None: all) side by side in ``folder``, as bpf_object__pin does; all or
        none.

        Dots in names become underscores. Raises :class:`LibbpfError` or :class:`PrivilegeError`.
        """
        chosen = [(n, self.program(n).fd) for n in (self.programs if programs is None else programs)]
        chosen += [(n, self.map(n).fd) for n in (self.maps if maps is None else maps)]
        descriptors = dict(chosen)
        if len(descriptors) != len(chosen):
            raise UsageError(
                f"{self.name}: a program and a map share a name: pin them into different folders"
            )
        pins = pin_all(folder, descriptors)
        self._pins.append(pins)
        return pins

    def unpin(self) -> None:
        """Removes every pin that :meth:`pin` made, and those that libbpf made for this load
        (``pin_root``).
        """
        while self._pins:
            self._pins.pop().remove()
        self._session.remove_own_pins()

    def close(self) -> None:
        """Detaches links that nobody disowned and closes all descriptors; closing twice is no error."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.programs)} programs, {len(self.maps)} maps"
        return f"<Object {self.name!r} {state}>"


def _pick(things: Mapping[str, _T], name: str, kind: str, owner: str) -> _T:
    try:
        return things[name]
    except KeyError:
        known = ", ".join(things) or "none"
        raise UsageError(f"{owner}: no {kind} {name!r}", hint=f"there are: {known}") from None
