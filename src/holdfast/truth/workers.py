# SPDX-License-Identifier: Apache-2.0
"""Several kernels at once: a process for each, so that they share nothing but the machine."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from holdfast.errors import HoldfastError
from holdfast.truth.run import Event, Survey, Task, Trouble, carry_out_task
from holdfast.vm.tied import die_with

__all__ = ["carry_out_all", "default_jobs", "shared_out"]

_GUEST: Final = 2560 << 20  # bytes for a guest with its qemu and the process that unpacks its kernel


def default_jobs(kernels: int) -> int:
    """How many guests this machine carries at once: by its cores and the memory that is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        free = int(found.split()[1]) << 10
    except (OSError, StopIteration, ValueError):
        pass
    return max(1, min(len(os.sched_getaffinity(0)), free // _GUEST, max(1, kernels)))


def shared_out(tasks: Sequence[Task], jobs: int) -> list[Task]:
    """The tasks with their objects shared out where there are fewer kernels than jobs; bundles and the
    survey stay with the first.
    """
    each = jobs // len(tasks) if tasks else 1
    if each < 2:
        return list(tasks)
    parts = [
        replace(
            task,
            loads=task.loads[first::each],
            bundles=() if first else task.bundles,
            probe=Survey.NOTHING if first else task.probe,
        )
        for task in tasks
        for first in range(each)
    ]
    return [part for part in parts if part.loads or part.bundles or part.probe]


def carry_out_all(tasks: Sequence[Task], jobs: int) -> Generator[Event, None, None]:
    """What the kernels say, as it comes. ``jobs`` processes at once; with one all happens in this process.

    What a kernel cannot be booted for is a :class:`~holdfast.truth.run.Trouble` of that kernel and keeps the
    others from nothing. Guests are ended when the iterator is closed.
    """
    if jobs < 2 or len(tasks) < 2:
        for task in tasks:
            yield from _guarded(task)
        return
    # a process that begins anew has no threads or locks of this one
    context = get_context("spawn")
    waiting = deque(tasks)
    running: dict[Connection, tuple[BaseProcess, Task]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                mine, theirs = context.Pipe(duplex=False)
                started = context.Process(target=_work, args=(task, theirs, os.getpid()), daemon=True)
                started.start()
                theirs.close()
                running[mine] = started, task
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                try:
                    yield ready.recv()
                except EOFError:
                    process, task = running.pop(ready)
                    ready.close()
                    process.join()
                    if process.exitcode:
                        yield Trouble(
                            task.kernel, f"the process that served it ended with {process.exitcode}"
                        )
    finally:
        for connection, (worker, _) in running.items():
            worker.terminate()  # its guest dies with it
            worker.join()
            connection.close()


def _guarded(task: Task) -> Iterator[Event]:
    try:
        yield from carry_out_task(task)
    except HoldfastError as error:
        yield Trouble(task.kernel, error.message)


def _work(task: Task, out: Connection, parent: int) -> None:
    die_with(parent)  # and the guest with this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    for one in _guarded(task):
        out.send(one)
    out.close()
