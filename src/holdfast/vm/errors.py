# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the machine rather than with an object: never a verdict."""

from __future__ import annotations

from typing import Any

from holdfast.errors import HoldfastError

__all__ = ["GuestError"]


class GuestError(HoldfastError):
    """A guest did not boot, hung, died, or said something that makes no sense.

    ``console`` holds its last console lines, ``job`` the name of the job that was running, None outside of
    jobs, and ``parts`` what that job had yielded. The guest is gone when this is raised.
    """

    parts: tuple[Any, ...] = ()

    def __init__(
        self, message: str, *, console: tuple[str, ...] = (), job: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.console = console
        self.job = job
