# SPDX-License-Identifier: Apache-2.0
"""What stayed the same from which series to which: a life told in few lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.history.builds import State
from holdfast.history.compare import types_text
from holdfast.history.flags import flags_text
from holdfast.history.life import KfuncLife
from holdfast.history.versions import Series, series_name

__all__ = ["Era", "callers", "eras", "flags", "prototype"]


@dataclass(frozen=True, slots=True)
class Era:
    """One value and the series from ``first`` to ``last`` that have it. Builds of one series that differ make
    eras that overlap.
    """

    first: Series
    last: Series
    value: str

    @property
    def span(self) -> str:
        """``6.12``, ``6.12-7.0``."""
        if self.first == self.last:
            return series_name(self.first)
        return f"{series_name(self.first)}-{series_name(self.last)}"


def eras(life: KfuncLife, value: Callable[[State], str | None]) -> list[Era]:
    """The values over the series that have the kfunc, oldest first; what is None is skipped."""
    found: list[Era] = []
    current: dict[str, int] = {}
    for series in life.series:
        states = [one.state for one in life.present if one.build.series == series]
        values = dict.fromkeys(text for text in map(value, states) if text is not None)
        if not values:
            continue
        for text in values:
            if text in current:
                at = current[text]
                found[at] = Era(found[at].first, series, text)
            else:
                current[text] = len(found)
                found.append(Era(series, series, text))
        current = {text: at for text, at in current.items() if text in values}
    return found


def prototype(state: State) -> str | None:
    """The prototype; one that BTF shows wrongly is told so."""
    if state.function is None:
        return None
    wrong = "  (implicit parameters shown by mistake)" if state.exposed else ""
    return state.function.text + wrong


def flags(state: State) -> str | None:
    """The flags, for each program type where they differ."""
    if state.by_type:
        by_flags: dict[frozenset[str], list[str]] = {}
        for kind in sorted(state.by_type):
            by_flags.setdefault(state.by_type[kind], []).append(kind.name)
        return "; ".join(f"{' '.join(kinds)}: {flags_text(one)}" for one, kinds in by_flags.items())
    return None if state.flags is None else flags_text(state.flags)


def callers(state: State) -> str | None:
    """The program types that may call it."""
    if state.program_types is None:
        return None
    return types_text(state.program_types) + (" (a filter admits fewer)" if state.narrowed else "")
