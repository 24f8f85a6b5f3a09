# SPDX-License-Identifier: Apache-2.0
"""The built-in catalogue and the user's as one, and the selectors that name kernels in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from holdfast.errors import UsageError
from holdfast.kernels.cache import Cache
from holdfast.kernels.catalogue.asked import Asked
from holdfast.kernels.catalogue.index import KernelRow
from holdfast.kernels.catalogue.store import Catalogue
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.record import KernelRecord

__all__ = ["Entry", "Shelf", "find"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One kernel and the catalogue that it is in."""

    row: KernelRow
    catalogue: Catalogue

    @property
    def id(self) -> str:
        """``debian/6.12.107+deb13-amd64``."""
        return self.row.id

    @property
    def is_builtin(self) -> bool:
        """Whether it came with Holdfast."""
        return self.catalogue.read_only

    @property
    def has_probes(self) -> bool:
        """Whether it was asked, before it came into its catalogue or since."""
        return self.row.has_probes or Asked.open().has(self.row)

    def facts(self, cache: Cache | None = None) -> KernelFacts:
        """See :meth:`Catalogue.facts`; with the answers that were kept beside a catalogue without any."""
        facts = self.catalogue.facts(self.row.id, cache=cache)
        asked = None if self.row.has_probes else Asked.open().get(self.row)
        return facts if asked is None else facts.with_probes(asked)

    def record(self) -> KernelRecord:
        """See :meth:`Catalogue.record`."""
        return self.catalogue.record(self.row.id)


class Shelf:
    """Several catalogues; of kernels with the same id that of the last counts."""

    def __init__(self, catalogues: Sequence[Catalogue]) -> None:
        self.catalogues = tuple(catalogues)

    @classmethod
    def open(cls) -> Shelf:
        """The built-in one and the user's. Raises what :meth:`Catalogue.open` raises."""
        return cls([Catalogue.builtin(), Catalogue.open()])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found damaged."""
        return tuple(note for one in self.catalogues for note in one.notes)

    def entries(self) -> list[Entry]:
        """All kernels: by where they come from, then the oldest release first."""
        found = {row.id: Entry(row, one) for one in self.catalogues for row in one.rows()}
        return sorted(found.values(), key=lambda entry: _order(entry.row))

    def matching(self, selector: str) -> list[Entry]:
        """Those with this id, or that it matches as a glob."""
        entries = self.entries()
        exact = [entry for entry in entries if entry.id == selector]
        return exact or [entry for entry in entries if fnmatchcase(entry.id, selector)]

    def find(self, selectors: Iterable[str]) -> list[Entry]:
        """The kernels that these ids and globs name, each once, in that order.

        Raises :exc:`~holdfast.errors.UsageError` for a selector that names none.
        """
        found: dict[str, Entry] = {}
        for selector in selectors:
            matches = self.matching(selector)
            if not matches:
                raise UsageError(f"no kernel {selector!r} in the catalogue", hint=self._near(selector))
            found.update((entry.id, entry) for entry in matches)
        return list(found.values())

    def _near(self, selector: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(selector, [entry.id for entry in self.entries()], n=3, cutoff=0.5)
        return f"there is {', '.join(near)}" if near else "holdfast kernels list shows what there is"


def find(selectors: Iterable[str]) -> list[Entry]:
    """:meth:`Shelf.find` in the built-in catalogue and the user's."""
    return Shelf.open().find(selectors)


def _order(row: KernelRow) -> tuple[object, ...]:
    """Numbers in a release count as numbers: 6.9 comes before 6.12."""
    pieces = tuple(
        (1, int(one), "") if one.isdigit() else (0, 0, one) for one in re.findall(r"\d+|\D+", row.release)
    )
    return row.source, pieces, row.id
