# SPDX-License-Identifier: Apache-2.0
"""The end of a console."""

from __future__ import annotations

from holdfast.vm.console import Console


def test_last_lines_without_control_characters() -> None:
    console = Console()
    console.add(b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n\r\n[ 1.0] one\x07\r\n")
    console.add(b"[ 2.0] two \xff\x00\n[ 3.0] th")
    console.add(b"ree")
    assert console.lines() == ("SeaBIOS", "[ 1.0] one", "[ 2.0] two \ufffd", "[ 3.0] three")
    assert console.lines(2) == ("[ 2.0] two \ufffd", "[ 3.0] three")
    assert Console().lines() == ()


def test_it_is_bounded() -> None:
    console = Console()
    for number in range(3000):
        console.add(b"%06d %s\n" % (number, b"x" * 1000))
    assert len(console._kept) <= 2 << 18
    (last,) = console.lines(1)
    assert last.startswith("002999 xxx") and len(last) == 300
