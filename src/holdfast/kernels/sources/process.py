# SPDX-License-Identifier: Apache-2.0
"""The distribution's tools that are asked: apt-config, apt-get, gpgv, sqv. No shell is in between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Said", "run"]

_SECONDS = 60  # the longest is gpgv over a Release file, which takes a tenth of a second


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool said; ``status`` is 127 where it is not installed or does not come to an end."""

    status: int
    out: str
    err: str


def run(command: Sequence[str]) -> Said:
    """Run a tool in the C locale and return what it says; never raises for what the tool does."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Said(127, "", f"{command[0]}: {error}")
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
