# SPDX-License-Identifier: Apache-2.0
"""From what a user names as kernels to their facts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import KernelAccessError, UsageError
from holdfast.kernels import image, live
from holdfast.kernels.cache import Cache, folder
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.probed import Wanted

if TYPE_CHECKING:
    from holdfast.kernels.catalogue import Shelf

__all__ = ["select"]


def select(
    selectors: Iterable[str], *, probe: Wanted | None = None, note: Callable[[str], object] = lambda _: None
) -> list[KernelFacts]:
    """Facts of each kernel that is named, in that order, each once.

    A selector is ``live``, an id of the catalogue (``debian/6.12.107+deb13-amd64``) or of the running kernel
    (``live/<release>``), a glob over these, ``all`` (the running kernel, where it shows its BTF, and the
    catalogue), or a path. ``probe`` is asked of the running kernel only; ``note`` is told what was found
    damaged in the catalogue and mended. Raises :exc:`~holdfast.errors.UsageError` for a selector that names
    nothing, and what :func:`holdfast.kernels.live.facts`, :func:`holdfast.kernels.image.from_path` and
    :meth:`holdfast.kernels.catalogue.Catalogue.open` raise.
    """
    chosen = _Chosen(probe, note)
    for selector in selectors:
        chosen.add(selector)
    return list(chosen.found.values())


class _Chosen:
    def __init__(self, probe: Wanted | None, note: Callable[[str], object]) -> None:
        self.found: dict[str, KernelFacts] = {}
        self._probe, self._note = probe, note
        self._cache = Cache(folder())
        self._shelf: Shelf | None = None

    def add(self, selector: str) -> None:
        if not selector:
            raise UsageError(
                "a selector of kernels is empty", hint="`holdfast kernels list` shows what there is"
            )
        pattern = "*" if selector == "all" else selector
        here = selector == "live" or fnmatchcase(f"live/{os.uname().release}", pattern)
        if here and "live" not in self.found:
            try:
                self.found["live"] = live.facts(self._probe)
            except KernelAccessError:
                if pattern == selector:  # asked for by name; of "all" it is not the point
                    raise
                here = False
        if selector == "live":
            return
        if not here and _is_path(selector):
            if selector not in self.found:
                self.found[selector] = image.from_path(selector, cache=self._cache)
            return
        shelf = self._open()
        entries = shelf.matching(pattern)
        if not entries and not here:
            shelf.find([selector])  # raises, with what is near
        for entry in entries:
            if entry.id not in self.found:
                self.found[entry.id] = entry.facts(self._cache)

    def _open(self) -> Shelf:
        if self._shelf is None:
            from holdfast.kernels.catalogue import Shelf

            self._shelf = Shelf.open()
            for text in self._shelf.notes:
                self._note(text)
        return self._shelf


def _is_path(selector: str) -> bool:
    path = Path(selector)
    return path.is_absolute() or selector.startswith(".") or path.exists()
