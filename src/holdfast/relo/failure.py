# SPDX-License-Identifier: Apache-2.0
"""Why libbpf would stop at a relocation or an extern."""

from __future__ import annotations

import os
from dataclasses import dataclass

from holdfast.errors import HoldfastError

__all__ = ["Refused", "ReloError"]


@dataclass(frozen=True, slots=True)
class ReloError:
    """libbpf stops here with ``errno`` (positive); ``message`` is what it says, without its ``prog ...:``
    prefix.
    """

    errno: int
    message: str

    def __str__(self) -> str:
        return f"{self.message} ({os.strerror(self.errno)})"


class Refused(HoldfastError):
    """libbpf would give up on these types with ``errno`` (positive); a resolver turns it into a
    :class:`ReloError`.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = number
