# SPDX-License-Identifier: Apache-2.0
"""The exit status of every verb: a bit field, as abidiff's."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag

from holdfast.terms import Verdict

__all__ = ["ExitStatus", "status_of"]


class ExitStatus(IntFlag):
    """What a shell sees. Bits add up: 12 is some program that fails and some that cannot be judged."""

    OK = 0
    ERROR = 1
    USAGE = 2
    FAILS = 4
    UNKNOWN = 8


def status_of(verdicts: Iterable[Verdict]) -> ExitStatus:
    """Return the status that tells these verdicts; OK when all are LOADS or there are none."""
    status = ExitStatus.OK
    for verdict in verdicts:
        if verdict is Verdict.FAILS:
            status |= ExitStatus.FAILS
        elif verdict is Verdict.UNKNOWN:
            status |= ExitStatus.UNKNOWN
    return status
