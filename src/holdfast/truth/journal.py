# SPDX-License-Identifier: Apache-2.0
"""What guests have said so far, on disk, so that an interrupted run goes on where it was.

One file for each kernel build and loader; a line of JSON for each program, as the guest told it. Several
processes may append to one file.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from holdfast._version import __version__

__all__ = ["Journal", "journal_name"]

_FORMAT: Final = 1


def journal_name(kernel: str, build: bytes, loader: str) -> str:
    """The file's name for a kernel, this Holdfast and a loader; ``build`` tells builds apart."""
    state = blake2b(build, digest_size=12)
    for part in (kernel, loader, __version__, str(_FORMAT)):
        state.update(b"\0" + part.encode())
    return f"{state.hexdigest()}.jsonl"


class Journal:
    """A journal in ``path``; None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def rows(self) -> Iterator[dict[str, Any]]:
        """What is in it, oldest first; nothing where it cannot be read. A line that was cut off, or is none
        of ours, is left out.
        """
        if self.path is None:
            return
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and {"sha256", "program", "loaded", "errno"} <= row.keys():
                yield row

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row. One write for a line, so that those of other processes stay whole.

        Where it cannot be written, for want of room or rights, this row is asked again by the next run.
        """
        if self.path is None:
            return
        line = b"\n" + json.dumps(row, separators=(",", ":")).encode() + b"\n"
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # a line that an interrupted process cut off must not swallow this one
                os.write(fd, line)
            finally:
                os.close(fd)
