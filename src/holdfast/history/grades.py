# SPDX-License-Identifier: Apache-2.0
"""How far a kfunc can be relied on, measured over a catalogue: new, moving, settled, deprecated, gone.

The kernel promises nothing about kfuncs and marks none as deprecated in a way that a program could read
(KF_DEPRECATED is documented and defined in no header), so a grade says what happened, not what will.
docs/history.md explains the rule; the thresholds are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.history.builds import Presence
from holdfast.history.change import Aspect
from holdfast.history.life import KfuncLife, Step
from holdfast.history.versions import LONGTERM, Series, parse_series, series_name
from holdfast.kernels.facts import KernelFacts

__all__ = [
    "DEPRECATIONS",
    "SETTLED_LONGTERM",
    "SETTLED_SERIES",
    "Deprecation",
    "Grade",
    "Graded",
    "grade",
    "grade_on",
]

SETTLED_SERIES: Final = 4
"""So many catalogued series must have carried a kfunc unchanged before it counts as settled."""

SETTLED_LONGTERM: Final = 2
"""So many of these must be longterm ones: what most users run moves from one of them to the next."""


class Grade(StrEnum):
    """What a kfunc's past says of it."""

    NEW = "new"
    MOVING = "moving"
    SETTLED = "settled"
    DEPRECATED = "deprecated"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Graded:
    """A grade with its reason, a clause as in "unchanged in 6 series since 6.1"; ``grade`` None where the
    kernels at hand are too few to tell.
    """

    grade: Grade | None
    reason: str

    @property
    def word(self) -> str:
        return self.grade.value if self.grade else "unknown"


@dataclass(frozen=True, slots=True)
class Deprecation:
    """What the kernel's own text says of a kfunc's end. ``since`` is the oldest release that was read and has
    it; remove a row when the kfunc is gone from all longterm kernels.
    """

    name: str
    since: str
    says: str
    source: str


DEPRECATIONS: Final = {
    one.name: one
    for one in (
        Deprecation(
            "scx_bpf_cpu_rq", "6.18", "warns at run time that it is deprecated",
            "kernel/sched/ext.c of 6.18: scx_bpf_cpu_rq()",
        ),
        Deprecation(
            "scx_bpf_dsq_insert_vtime", "6.19", "will be removed in 6.23",
            "kernel/sched/ext.c of 7.1, comment COMPAT",
        ),
        Deprecation(
            "scx_bpf_select_cpu_and", "6.19", "will be removed in 6.22",
            "kernel/sched/ext_idle.c of 7.1, comment COMPAT",
        ),
        Deprecation(
            "scx_bpf_dsq_insert", "6.19", "the form without a result will be removed in 6.23",
            "kernel/sched/ext.c of 7.1, comment COMPAT",
        ),
        Deprecation(
            "scx_bpf_dsq_move_to_local", "7.1", "the form without enq_flags will be removed",
            "kernel/sched/ext.c of 7.1, comment COMPAT",
        ),
        Deprecation(
            "scx_bpf_reenqueue_local___v2", "7.1", "may be removed in the future",
            "kernel/sched/ext.c of 7.1: its kernel-doc names scx_bpf_dsq_reenq()",
        ),
    )
}  # fmt: skip


def grade(life: KfuncLife) -> Graded:
    """The grade over all kernels of the life, as of the newest.

    gone: no build of a newer series has it (builds whose configuration hides it do not count).
    deprecated: the kernel's text says so (:data:`DEPRECATIONS`, KF_DEPRECATED). settled: no hard change in
    :data:`SETTLED_SERIES` series, :data:`SETTLED_LONGTERM` of them longterm, up to the newest. Else moving if
    it ever changed in a hard way, and new if it did not.
    """
    last = life.last
    if last is None:
        return Graded(None, "no kernel here is known to have it")
    gone = life.gone_in()
    if gone is not None:
        return Graded(Grade.GONE, f"gone in {series_name(gone)}; {_successor(life)}")
    said = _deprecated(life)
    if said:
        return Graded(Grade.DEPRECATED, said)
    hard = _last_hard(life)
    since = hard.after.series if hard else life.series[0]
    carried = [one for one in life.series if one >= since]
    longterm = sum(one in LONGTERM for one in carried)
    measured = f"in {_count(len(carried), 'series')}, {longterm} of them longterm"
    if len(carried) >= SETTLED_SERIES and longterm >= SETTLED_LONGTERM:
        return Graded(Grade.SETTLED, f"no hard change {measured}, since {series_name(since)}")
    if hard:
        return Graded(Grade.MOVING, f"changed in {series_name(since)}: {hard.change.what}")
    if len({one.build.series for one in life.sightings}) < SETTLED_SERIES:
        return Graded(
            None, f"the kernels here are too few to tell ({_count(len(carried), 'series')} have it)"
        )
    return Graded(Grade.NEW, f"seen {measured}, since {series_name(since)}")


def grade_on(life: KfuncLife, kernel: KernelFacts) -> Graded:
    """The grade for who runs that kernel: what is gone in newer ones, and still there, is deprecated."""
    overall = grade(life)
    here = life.at(kernel)
    if overall.grade is Grade.GONE and here is not None and here.presence is Presence.PRESENT:
        return Graded(Grade.DEPRECATED, overall.reason)
    return overall


def _last_hard(life: KfuncLife) -> Step | None:
    """The last change after which a program may no longer load. Where a distribution moves code between
    vmlinux and modules is its configuration, and no change of the kfunc.
    """
    hard = [
        step for step in life.steps if step.change.effect.is_hard and step.change.aspect is not Aspect.MODULE
    ]
    # what was gone and came back is there since its return
    back = [step for step in life.steps if step.change.aspect is Aspect.PRESENCE]
    return max(hard + back, key=lambda step: step.after.version, default=None)


def _deprecated(life: KfuncLife) -> str:
    last = life.last
    if last is None:
        return ""
    if last.state.flags is not None and "DEPRECATED" in last.state.flags:
        return f"KF_DEPRECATED in {last.build.id}"
    said = DEPRECATIONS.get(life.name)
    since: Series | None = parse_series(said.since) if said else None
    if said and since and last.build.series >= since:
        return f"{said.says} ({said.source}); {_successor(life)}"
    return ""


def _successor(life: KfuncLife) -> str:
    if not life.renamed_to:
        return "no successor is known"
    one = life.renamed_to[-1]
    doubt = ", as it seems" if one.guess else ""
    return f"{one.new} takes its place{doubt}" + (f" ({one.note})" if one.note else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}"
