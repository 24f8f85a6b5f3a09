# SPDX-License-Identifier: Apache-2.0
"""What a guest printed on its console: the end of it, bounded."""

from __future__ import annotations

import re

__all__ = ["Console"]

_KEEP = 256 << 10  # bytes
_LINE = 300  # characters; a longer line is cut
# Terminal sequences of the firmware, and other control characters: they must not reach somebody's terminal.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_c])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Console:
    """Collects console output."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """Take more of it."""
        self._kept += data
        if len(self._kept) > 2 * _KEEP:
            del self._kept[:-_KEEP]

    def lines(self, count: int = 20) -> tuple[str, ...]:
        """Return the last lines that are not empty, without control characters."""
        text = _SEQUENCE.sub("", bytes(self._kept).decode(errors="replace"))
        lines = (_CONTROL.sub("", line).rstrip()[:_LINE] for line in text.replace("\r", "\n").split("\n"))
        return tuple([line for line in lines if line][-count:])
