# SPDX-License-Identifier: Apache-2.0
"""Do something in another network namespace: interface indexes mean something in their own alone."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["in_network_namespace"]

_CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
_Result = TypeVar("_Result")


def in_network_namespace(namespace: int, work: Callable[[], _Result]) -> _Result:
    """Returns what ``work`` returns in the namespace of the descriptor ``namespace``, which stays the
    caller's; raises what it raises, and :class:`OSError` where this process may not enter.

    ``work`` runs in a thread of its own: whatever happens, the caller's thread stays where it is. Nobody
    needs a right to be where they are: in its own namespace, ``work`` is simply called.
    """
    here, there = Path("/proc/thread-self/ns/net").stat(), os.fstat(namespace)
    if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
        return work()
    returned: list[_Result] = []
    failure: list[BaseException] = []

    def enter() -> None:
        try:
            _setns(namespace)
            returned.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            failure.append(error)

    thread = threading.Thread(target=enter, name="network-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return returned[0]


def _setns(namespace: int) -> None:
    # os.setns exists from Python 3.12 on; remove the other branch when 3.11 is no longer supported.
    if hasattr(os, "setns"):
        os.setns(namespace, _CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns(CLONE_NEWNET)")
