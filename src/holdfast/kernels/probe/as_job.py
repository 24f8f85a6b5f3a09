# SPDX-License-Identifier: Apache-2.0
"""The survey as a job for a booted kernel: plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from holdfast.kernels import probe_plain
from holdfast.kernels.cache import Cache
from holdfast.kernels.live import facts
from holdfast.kernels.probe.door import everything
from holdfast.kernels.probe.survey import ALL, Part, survey
from holdfast.kernels.probed import ProbeFacts

__all__ = ["ask"]


def ask(
    kfuncs: Sequence[str] | None = None, only: Sequence[str] = tuple(ALL)
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Yield ``{"part", "done", "total"}`` on the way and return what
    :func:`holdfast.kernels.probe_plain.to_plain` gives.

    ``kfuncs`` are all kfuncs to ask, None for those that can be found; ``only`` are parts.
    """
    kernel = facts(cache=Cache(None))
    parts = [Part(name) for name in only]
    nothing = everything(kernel, only=())
    if nothing.obstacle:
        return probe_plain.to_plain(nothing)
    found: ProbeFacts = yield from _told(survey(kernel, parts, kfuncs))
    return probe_plain.to_plain(found)


def _told(steps: Generator[Any, None, ProbeFacts]) -> Generator[dict[str, Any], None, ProbeFacts]:
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            found = end.value
            assert isinstance(found, ProbeFacts)
            return found
        yield {"part": str(step.part), "done": step.done, "total": step.total}
