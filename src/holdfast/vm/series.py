# SPDX-License-Identifier: Apache-2.0
"""Many jobs on one kernel, in as few boots as it takes: a guest that is lost costs one job, no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from holdfast.vm.boot import Guest
from holdfast.vm.errors import GuestError
from holdfast.vm.job import Job, JobResult

__all__ = ["carry_out"]


def carry_out(boot: Callable[[], Guest], jobs: Iterable[Job], *, boots: int = 3) -> Iterator[JobResult]:
    """Yield how each job ended, in their order.

    ``boot`` is called for the first guest, and for another one after a guest was lost, which then goes on
    with the job after the one that it was lost with; for that one there is a result whose ``problem`` says so
    and whose ``said`` is the end of the console. Raises :class:`~holdfast.vm.errors.GuestError` when a kernel
    does not boot at the second try either, or more than ``boots`` guests would be needed.
    """
    waiting = iter(jobs)
    job = next(waiting, None)
    while job is not None:
        boots -= 1
        try:
            booted = boot()
        except GuestError:
            if boots <= 0:
                raise
            boots -= 1
            booted = boot()
        with booted as guest:
            while job is not None:
                try:
                    (result,) = guest.run([job])
                except GuestError as error:
                    if boots <= 0:
                        raise
                    said = "\n".join(error.console)
                    yield JobResult(job, None, error.parts, error.message, said, lost=True)
                    job = next(waiting, None)
                    break
                yield result
                job = next(waiting, None)
