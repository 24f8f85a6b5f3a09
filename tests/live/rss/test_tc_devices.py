# SPDX-License-Identifier: Apache-2.0
"""Rules of tc on devices that are no TAP: a veth pair steers, a macvtap is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


@pytest.fixture(scope="module")
def told(live: object, need_tool: Callable[[str], str]) -> dict[str, Any]:
    inside = Path(__file__).with_name("veth_inside.py")
    done = subprocess.run([sys.executable, inside, need_tool("ip")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_veth_pair_delivers_to_the_queues_of_the_rule(told: dict[str, Any]) -> None:
    assert told["qdisc"] in ("multiq", "prio", "htb")
    assert told["wrong"] == []


def test_a_macvtap_is_refused(told: dict[str, Any]) -> None:
    if not told["macvtap"]:
        pytest.skip("this kernel has no macvtap")
    for refused in (told["refused"], told["refused_steering"]):
        message, hint = refused
        assert message == "mactap: is a macvtap: the kernel chooses its queues by a hash of its own"
        assert "a TAP on a bridge" in hint
