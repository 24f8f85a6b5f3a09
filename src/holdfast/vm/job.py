# SPDX-License-Identifier: Apache-2.0
"""What is asked of a guest and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Job", "JobResult"]


@dataclass(frozen=True, slots=True)
class Job:
    """A call of a function in a guest, in a process of its own.

    ``call`` is ``module:function``; the function is called with ``arguments`` by keyword. It returns a value
    or is a generator that yields parts. Arguments, value and parts are of None, bool, int, float, str, bytes,
    lists, and dicts with string keys. ``timeout`` is how many seconds may pass without a part: a job that is
    silent for longer is killed.
    """

    name: str
    call: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float = 120.0


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended. ``problem`` is "" for one that ended well.

    ``parts`` is what it yielded, also where it failed after that; ``value`` what it returned. ``problem``
    says in one line why there is no value: an exception, a signal, no news in time. It is about the job, or
    the guest under it, and no verdict about an object; ``lost`` tells that the guest went with it. ``said``
    is the end of what the job wrote to stdout and stderr, with the traceback; ``seconds`` are the guest's.
    """

    job: Job
    value: Any = None
    parts: tuple[Any, ...] = ()
    problem: str = ""
    said: str = ""
    seconds: float = 0.0
    lost: bool = False

    @property
    def ok(self) -> bool:
        """Return whether the job ended well."""
        return not self.problem
