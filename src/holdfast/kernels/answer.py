# SPDX-License-Identifier: Apache-2.0
"""The answer to one question about a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from holdfast.terms import Evidence

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Yes, no, or cannot tell (``value`` None), what says so, and a short note for people.

    It has no truth value, because ``if answer:`` would take "cannot tell" for no: compare ``value``.
    """

    value: bool | None
    evidence: Evidence
    note: str = ""

    def __bool__(self) -> NoReturn:
        raise TypeError("an Answer has three values: compare answer.value with True, False or None")
