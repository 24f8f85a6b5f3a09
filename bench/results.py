# SPDX-License-Identifier: Apache-2.0
"""From the costs of all rounds to ratios, and to what is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.measure import Cost, Spread

__all__ = ["RATIOS", "Ratio", "document", "lines"]

SCHEMA_VERSION: Final = 1
_BAR: Final = 30  # columns of the longest bar


@dataclass(frozen=True, slots=True)
class Ratio:
    """``above`` over ``below``, each round for itself; ``less`` is taken from ``above`` first."""

    title: str
    above: str
    below: str
    less: str | None = None
    aim: float | None = None

    def spread(self, costs: Mapping[str, Sequence[Cost]], clock: str) -> Spread | None:
        """Over all rounds, by ``cpu`` or ``wall``; None when one of its subjects was not measured."""
        names = [self.above, self.below, *([self.less] if self.less else [])]
        if not all(costs.get(name) for name in names):
            return None
        above, below = _times(costs[self.above], clock), _times(costs[self.below], clock)
        if self.less:
            above = [a - b for a, b in zip(above, _times(costs[self.less], clock), strict=True)]
        return Spread.of([a / b for a, b in zip(above, below, strict=True)])


RATIOS: Final = (
    Ratio("check / bpftool gen min_core_btf", "check", "min-core", aim=1),
    Ratio("check / bpftool prog loadall", "check", "loadall", aim=1),
    Ratio("check / loadall, of what loads", "check-loads", "loadall-loads", aim=1),
    Ratio("check in Python / min_core_btf", "check-warm", "min-core", aim=1),
    Ratio("check in Python / loadall", "check-warm", "loadall", aim=1),
    Ratio("check in Python / min_core_btf, all in one", "check-warm", "min-core-all"),
    Ratio("check alone / min_core_btf", "check-one", "min-core"),
    Ratio("check alone / loadall", "check-one", "loadall"),
    Ratio("check alone, cache full / empty", "check-one", "check-cold"),
    Ratio("kernel's facts, cached / BTF indexed", "index-cached", "index"),
    Ratio("BTF indexed / min_core_btf", "index", "min-core"),
    Ratio("import of the CLI / bare interpreter", "import", "python", less="python", aim=1),
    Ratio("holdfast --version / bare interpreter", "version", "python"),
)


def _times(costs: Sequence[Cost], clock: str) -> list[float]:
    return [cost.cpu if clock == "cpu" else cost.wall for cost in costs]


def lines(
    titles: Mapping[str, str], units: Mapping[str, str], costs: Mapping[str, Sequence[Cost]]
) -> list[str]:
    """Costs as a bar chart, one scale for each unit, and the ratios below; 100 columns at most."""
    rows = []
    for unit in dict.fromkeys(units.values()):
        rows += ["", f"{'per ' + unit:<47} {'CPU ms':>8} {'wall ms':>8}"]
        names = [name for name in costs if costs[name] and units[name] == unit]
        medians = {name: Spread.of(_times(costs[name], "cpu")).median for name in names}
        for name in names:
            took = Spread.of(_times(costs[name], "wall")).median
            length = max(1, round(_BAR * medians[name] / max(medians.values())))
            rows.append(f"  {titles[name]:<45} {medians[name]:8.1f} {took:8.1f}  {'#' * length}")
    rows += ["", f"{'ratios, median (least to most)':<47} {'CPU':<22} {'wall':<22}"]
    for ratio in RATIOS:
        cpu, wall = ratio.spread(costs, "cpu"), ratio.spread(costs, "wall")
        if cpu is not None and wall is not None:
            rows.append(f"  {ratio.title:<45} {_text(cpu):<22} {_text(wall):<22} {_aim(ratio, cpu)}".rstrip())
    return rows


def _text(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})"


def _aim(ratio: Ratio, cpu: Spread) -> str:
    if ratio.aim is None:
        return ""
    return "met" if cpu.median < ratio.aim else "MISSED"


def document(
    titles: Mapping[str, str], units: Mapping[str, str], costs: Mapping[str, Sequence[Cost]]
) -> dict[str, object]:
    """The same for programs; costs in milliseconds, an aim is what the median of CPU time is to be below."""
    ratios = []
    for ratio in RATIOS:
        cpu, wall = ratio.spread(costs, "cpu"), ratio.spread(costs, "wall")
        if cpu is not None and wall is not None:
            ratios.append({"title": ratio.title, "cpu": _row(cpu), "wall": _row(wall), "aim": ratio.aim})
    measured = [
        {
            "name": name,
            "title": titles[name],
            "unit": units[name],
            "cpu_ms": _row(Spread.of(_times(rounds, "cpu"))),
            "wall_ms": _row(Spread.of(_times(rounds, "wall"))),
        }
        for name, rounds in costs.items()
        if rounds
    ]
    return {"schema_version": SCHEMA_VERSION, "costs": measured, "ratios": ratios}


def _row(spread: Spread) -> dict[str, float]:
    return {"median": spread.median, "min": spread.least, "max": spread.most}
