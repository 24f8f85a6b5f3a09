# SPDX-License-Identifier: Apache-2.0
"""`holdfast rss attach`, `show` and `detach` on a TAP that another process has open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


@pytest.fixture(scope="module")
def told(live: object) -> dict[str, Any]:
    inside = Path(__file__).with_name("attach_inside.py")
    done = subprocess.run([sys.executable, inside], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_tap_that_is_held_is_steered(told: dict[str, Any]) -> None:
    assert told["steering"]["status"] == 0, told["steering"]["error"]
    assert told["steering"]["bundle"] == "net/rss"
    assert told["steering"]["queues"] == [3, 1, 0, 2]
    assert told["steered"]


def test_its_queues_are_counted(told: dict[str, Any]) -> None:
    assert told["before"]["form"] is None
    assert [one["packets"] for one in told["before"]["queues"]] == [0, 0, 0, 0]
    assert told["shown"]["form"] == "steering"
    # By frames that came in, which may be a few more: a namespace talks by itself.
    assert sum(one["packets"] for one in told["shown"]["queues"]) >= 24
    assert all(one["packets"] for one in told["shown"]["queues"])


def test_another_attach_takes_its_place(told: dict[str, Any]) -> None:
    assert told["again"]["bundle"] == "net/rss-tunnel"
    assert told["steered_again"]


def test_tc_honours_a_list_of_three(told: dict[str, Any]) -> None:
    assert told["tc"]["status"] == 0, told["tc"]["error"]
    assert told["tc"]["qdisc"] in ("multiq", "prio", "htb")
    assert told["steered_by_tc"]
    assert told["tc_again"]["bundle"] == "net/rss-tc-tunnel"
    assert told["steered_by_tc_again"]
    assert told["shown_tc"]["counted_by"] == "rss_tc_packets"
    counts = [one["packets"] for one in told["shown_tc"]["queues"]]
    assert counts[1] == 0
    assert all(got >= wanted for got, wanted in zip(counts, told["counts"], strict=True))


def test_detach_takes_off_what_was_there(told: dict[str, Any]) -> None:
    assert told["detached"]["detached"] == ["tc"]
    assert told["detached_again"]["detached"] == []
    assert told["detached_again"]["status"] == 0


def test_a_device_that_cannot_be_is_one_line(told: dict[str, Any]) -> None:
    assert told["nothing_else"]["status"] == 2
    assert told["nothing_else"]["error"].startswith("holdfast: lo: is no TAP")
    assert told["one_queue"]["status"] == 2
    assert "one transmit queue" in told["one_queue"]["error"]
    assert told["too_many"]["status"] == 2
    assert "queue 999" in told["too_many"]["error"]
    # Nothing of the attempt stays.
    assert told["left"]["form"] is None


def test_pins_go_with_the_device(told: dict[str, Any]) -> None:
    assert told["pinned"]["status"] == 0, told["pinned"]["error"]
    assert (told["pins_before"], told["pins"], told["pins_after"]) == (1, 1, 0)


def test_queues_that_the_tap_cannot_have_are_refused_and_those_that_nobody_has_open_are_told(
    told: dict[str, Any],
) -> None:
    assert told["beyond"]["status"] == 2
    assert told["beyond"]["error"].splitlines()[0].endswith(": queue 256 is named")
    assert told["more_than_open"]["status"] == 0
    (note,) = told["more_than_open"]["notes"]
    assert note.startswith("queues that are open now: 4; frames for queue 4 and above go to")
    assert told["no_types"]["notes"] == ["no hash types: every frame goes to queue 0"]
    assert told["steering"]["notes"] == []


def test_what_another_user_sees_of_it(told: dict[str, Any]) -> None:
    assert told["by_another"]["form"] == "hidden"
    assert told["by_another_detached"]["error"].endswith("its pins are root's alone")
