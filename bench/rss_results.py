# SPDX-License-Identifier: Apache-2.0
"""From the times of all rounds to net times, ratios and what is printed; nothing here runs a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.measure import Spread

__all__ = ["Results", "Size", "document", "lines"]

SCHEMA_VERSION: Final = 1
_NAME: Final = 16  # columns of a program's name
_CELL: Final = 21  # columns of a packet's cell
_BAR: Final = 60  # columns of the longest bar


@dataclass(frozen=True, slots=True)
class Size:
    """What the kernel tells of a program; None where it does not (no JIT, a kernel before 5.16)."""

    verified_insns: int | None  # instructions that the verifier walked through, each path for itself
    jited_bytes: int | None


@dataclass(frozen=True, slots=True)
class Results:
    """One run. ``programs`` and ``packets`` map names to titles; ``reference`` is one of the programs, or
    None where it is not here.

    ``empty`` and ``times`` hold ns per packet of each round, in the order of the rounds: by packet, and by
    (program, packet). ``wrong`` tells of a pair how many of its queues were wrong, of how many; a pair that
    is there has no time.
    """

    programs: Mapping[str, str]
    packets: Mapping[str, str]
    reference: str | None
    sizes: Mapping[str, Size]
    empty: Mapping[str, Sequence[float]]
    times: Mapping[tuple[str, str], Sequence[float]]
    wrong: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def net(self, program: str, packet: str) -> list[float] | None:
        """Each round's time less the empty program's of the same round; None for a wrong queue."""
        if (program, packet) in self.wrong:
            return None
        pairs = zip(self.times[program, packet], self.empty[packet], strict=True)
        return [whole - empty for whole, empty in pairs]

    def time(self, program: str, packet: str) -> Spread | None:
        """The spread of :meth:`net`."""
        net = self.net(program, packet)
        return Spread.of(net) if net else None

    def ratio(self, program: str, packet: str) -> Spread | None:
        """Net time over the reference's, each round for itself: below 1 is faster.

        Rounds in which noise ate a whole net time say nothing and are left out. None when no round is left,
        without a reference, and when one of the two queues is wrong.
        """
        if self.reference is None:
            return None
        own, other = self.net(program, packet), self.net(self.reference, packet)
        if own is None or other is None:
            return None
        ratios = [a / b for a, b in zip(own, other, strict=True) if a > 0 and b > 0]
        return Spread.of(ratios) if ratios else None


def lines(results: Results) -> list[str]:
    """Tables and a bar chart, 100 columns at most."""
    rows = ["", _row("ns, net", list(results.packets.values()))]
    for program, title in results.programs.items():
        cells = []
        for packet in results.packets:
            time = results.time(program, packet)
            cells.append(_wrong(results.wrong[program, packet]) if time is None else _text(time, 1, 0))
        rows.append(_row(title, cells))
    rows.append(_row("empty", [_text(Spread.of(results.empty[packet]), 1, 0) for packet in results.packets]))
    if results.reference is not None:
        rows += ["", f"over {results.programs[results.reference]}'s, below 1 is faster"]
        for program, title in results.programs.items():
            if program != results.reference:
                ratios = [results.ratio(program, packet) for packet in results.packets]
                rows.append(_row(title, ["-" if one is None else _text(one, 2, 2) for one in ratios]))
    rows += ["", _row("size", ["insns verified", "jited bytes"])]
    for program, title in results.programs.items():
        size = results.sizes[program]
        rows.append(_row(title, [_number(size.verified_insns), _number(size.jited_bytes)]))
    return rows + _chart(results)


def _chart(results: Results) -> list[str]:
    medians = {
        (program, packet): time.median
        for packet in results.packets
        for program in results.programs
        if (time := results.time(program, packet)) is not None
    }
    longest = max([1.0, *medians.values()])
    rows = []
    for packet, title in results.packets.items():
        rows += ["", title]
        for program, name in results.programs.items():
            if (program, packet) in medians:
                median = medians[program, packet]
                bar = "#" * max(1, round(_BAR * median / longest))
                rows.append(f"  {name:<{_NAME}}{median:7.1f} ns  {bar}")
            else:
                rows.append(f"  {name:<{_NAME}}{'WRONG':>7}")
    return rows


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<{_NAME}}{''.join(f'{cell:<{_CELL}}' for cell in cells)}".rstrip()


def _text(spread: Spread, digits: int, ends: int) -> str:
    return f"{spread.median:.{digits}f} ({spread.least:.{ends}f} to {spread.most:.{ends}f})"


def _wrong(counted: tuple[int, int]) -> str:
    return f"WRONG: {counted[0]} of {counted[1]}"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def document(results: Results) -> dict[str, object]:
    """The same for programs: times in ns per packet net of ``empty``, None for a wrong queue."""
    programs = [
        {
            "name": name,
            "title": title,
            "verified_insns": results.sizes[name].verified_insns,
            "jited_bytes": results.sizes[name].jited_bytes,
        }
        for name, title in results.programs.items()
    ]
    cells: list[dict[str, object]] = []
    for packet in results.packets:
        for program in results.programs:
            wrong = results.wrong.get((program, packet))
            cells.append(
                {
                    "packet": packet,
                    "program": program,
                    "wrong_queues": wrong[0] if wrong else 0,
                    "net_ns": _numbers(results.time(program, packet)),
                    "ratio": _numbers(results.ratio(program, packet)),
                }
            )
    return {
        "schema_version": SCHEMA_VERSION,
        "reference": results.reference,
        "programs": programs,
        "packets": [{"name": name, "title": title} for name, title in results.packets.items()],
        "empty_ns": {packet: _numbers(Spread.of(times)) for packet, times in results.empty.items()},
        "cells": cells,
    }


def _numbers(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    return {"median": spread.median, "min": spread.least, "max": spread.most}
