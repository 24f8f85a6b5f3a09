# SPDX-License-Identifier: Apache-2.0
"""A process that must not outlive the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal

__all__ = ["die_with"]

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Be killed when the process ``parent``, which started this one, is gone, whatever it died of (prctl(2)).

    Ends this process at once where that has happened already.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
