# SPDX-License-Identifier: Apache-2.0
"""One program on one kernel, as the forms for other tools (JUnit, SARIF, Markdown) need it.

Verdicts of ``check`` and loads of ``verify`` both become cases, so that a form is written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from holdfast.predict.model import ProgramVerdict
from holdfast.terms import Verdict

if TYPE_CHECKING:
    from holdfast.bundle.plan import Plan

__all__ = ["Case", "CaseReason", "State", "cases_of", "cases_of_plans"]


class CaseReason(Protocol):
    """What forms read of a reason, be it a program's or that of a bundle's variant."""

    @property
    def code(self) -> str: ...
    @property
    def need(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def evidence(self) -> str: ...
    @property
    def hint(self) -> str | None: ...
    @property
    def source(self) -> str | None: ...


class State(StrEnum):
    """What a case comes to: what happened where it was tried, else what is predicted."""

    LOADS = "loads"
    FAILS = "fails"
    UNKNOWN = "unknown"
    ERROR = "error"
    """The infrastructure broke, so nothing is known; never a verdict."""


_STATES = {Verdict.LOADS: State.LOADS, Verdict.FAILS: State.FAILS, Verdict.UNKNOWN: State.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Case:
    """A program on a kernel.

    ``loaded`` is what happened when it was loaded, None where nobody tried; ``trouble`` why a try came to
    nothing. ``said`` are the loader's and the kernel's last words, oldest first, ``last`` the line of them
    that tells most, and ``errno`` positive;
    ``stopped_at`` is ``file.c:12`` where the verifier stopped. ``seconds`` is how long the load took.
    """

    object: str
    program: str
    kernel: str
    predicted: Verdict
    reasons: tuple[CaseReason, ...] = ()
    loaded: bool | None = None
    tried: bool = False
    trouble: str = ""
    errno: int | None = None
    said: tuple[str, ...] = ()
    last: str = ""
    stopped_at: str | None = None
    processed: int | None = None
    seconds: float | None = None

    @property
    def state(self) -> State:
        if self.loaded is not None:
            return State.LOADS if self.loaded else State.FAILS
        return State.ERROR if self.tried else _STATES[self.predicted]

    @property
    def is_false(self) -> bool:
        """Whether a decided verdict is not what happened."""
        if self.loaded is None or self.predicted is Verdict.UNKNOWN:
            return False
        return (self.predicted is Verdict.LOADS) is not self.loaded

    @property
    def code(self) -> str:
        """The first reason's code; ``LOAD_REFUSED`` where a load was refused that no reason spoke of, and
        ``INFRASTRUCTURE`` where it could not be tried.
        """
        if self.state is State.ERROR:
            return "INFRASTRUCTURE"
        told = str(self.reasons[0].code) if self.reasons else "NONE"
        if self.state is State.FAILS and (self.predicted is Verdict.LOADS or not self.reasons):
            return "LOAD_REFUSED"
        return told

    @property
    def need(self) -> str:
        """The first reason's need in short; "" without one."""
        return self.reasons[0].need if self.reasons else ""

    @property
    def source(self) -> str | None:
        """``file.c:12``, of the first reason or where the verifier stopped."""
        told = next((reason.source for reason in self.reasons if reason.source), None)
        return told or self.stopped_at

    @property
    def line(self) -> str:
        """What there is to say about it, in one line."""
        if self.state is State.ERROR:
            return f"could not be tried: {self.trouble}"
        parts = []
        if self.is_false:
            happened = "loads" if self.loaded else "fails"
            parts.append(f"predicted {self.predicted.value}, but it {happened}")
        if self.reasons and self.predicted is not Verdict.LOADS:
            first = self.reasons[0]
            parts.append(f"{first.need}: {first.message}")
        if self.loaded is False and self.last:
            parts.append(f"said: {self.last}")
        return "; ".join(parts) or self.state.value


def cases_of(verdicts: Iterable[ProgramVerdict]) -> Iterator[Case]:
    """A case for each verdict, nothing tried."""
    for one in verdicts:
        yield Case(one.object_path, one.program, one.kernel, one.verdict, one.reasons)


def cases_of_plans(plans: Iterable[Plan]) -> Iterator[Case]:
    """A case for each bundle and kernel; of one that does not LOAD the reasons of all its variants."""
    for plan in plans:
        reasons = tuple(reason for step in plan.steps for reason in step.reasons)
        loads = plan.verdict is Verdict.LOADS
        name = plan.bundle.name
        yield Case(str(plan.bundle.path), name, plan.kernel, plan.verdict, () if loads else reasons)
