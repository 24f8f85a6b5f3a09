# SPDX-License-Identifier: Apache-2.0
"""How costs become ratios; nothing is timed here."""

from __future__ import annotations

import sys

import pytest
from bench.measure import Cost, Spread, run
from bench.results import RATIOS, Ratio, document, lines

COSTS = {
    "check": [Cost(2, 8), Cost(4, 8), Cost(9, 8)],
    "min-core": [Cost(4, 16), Cost(4, 16), Cost(6, 16)],
    "python": [Cost(10, 10)],
    "import": [Cost(15, 20)],
}
TITLES = {name: f"title of {name}" for name in COSTS}
UNITS = {"check": "object", "min-core": "object", "python": "start", "import": "start"}


def test_a_ratio_is_taken_round_by_round() -> None:
    ratio = Ratio("r", "check", "min-core")
    assert ratio.spread(COSTS, "cpu") == Spread(1.0, 0.5, 1.5)
    assert ratio.spread(COSTS, "wall") == Spread(0.5, 0.5, 0.5)


def test_what_is_common_to_both_is_taken_off() -> None:
    assert Ratio("r", "import", "python", less="python").spread(COSTS, "cpu") == Spread(0.5, 0.5, 0.5)


@pytest.mark.parametrize("costs", [{}, {"check": []}, {"check": COSTS["check"]}])
def test_there_is_no_ratio_without_both(costs: dict[str, list[Cost]]) -> None:
    assert Ratio("r", "check", "min-core").spread(costs, "cpu") is None


def test_text_shows_costs_bars_and_whether_an_aim_is_met() -> None:
    found = lines(TITLES, UNITS, COSTS)
    assert max(len(line) for line in found) <= 100
    check, min_core = (
        next(line for line in found if f"title of {name}" in line) for name in ("check", "min-core")
    )
    assert check.count("#") == min_core.count("#") == 30  # both medians are 4 ms
    missed, met = (
        next(line for line in found if title in line) for title in ("/ bpftool gen", "/ bare inter")
    )
    assert missed.endswith(" MISSED")  # 1.00 is not below 1
    assert met.endswith(" met")


def test_json_has_the_same() -> None:
    found = document(TITLES, UNITS, COSTS)
    assert found["schema_version"] == 1
    ratios = found["ratios"]
    assert isinstance(ratios, list)
    titles = {ratio.title for ratio in RATIOS if {ratio.above, ratio.below} <= COSTS.keys()}
    assert {ratio["title"] for ratio in ratios} == titles
    assert ratios[0]["cpu"] == {"median": 1.0, "min": 0.5, "max": 1.5}


def test_run_tells_status_and_signal() -> None:
    assert run([sys.executable, "-c", "raise SystemExit(3)"])[0] == 3
    assert run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])[0] == -9
