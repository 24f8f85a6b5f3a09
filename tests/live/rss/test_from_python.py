# SPDX-License-Identifier: Apache-2.0
"""docs/rss.md, "From Python": its program runs as it stands."""

from __future__ import annotations

import pytest
from tests.docs.documents import blocks

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


def test_the_monitor_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (one for one in blocks("docs/rss.md", "python") if one.note == "root")
    exec(compile(block.text, block.label, "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24
    assert {line.split()[0] for line in lines} == {"TCPv4", "UDPv4", "IPv4", "TCPv6", "UDPv6", "IPv6"}
    assert {line.split()[1] for line in lines if line.startswith("UDP")} == {"3"}
